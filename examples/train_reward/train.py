"""Step two: a process reward head on the small model, from what `collect` wrote.

``python -m examples.train_reward.train --model DIR --solutions solutions.jsonl --out reward`` needs
torch and transformers, which come with SGLang. The states of the middle layers at the ends of steps
are computed once; then a logistic regression for each layer shows where right and wrong steps
differ, and the best one becomes the head of a model that ends there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from examples.train_reward.labels import Solution, checked, monte_carlo
from examples.train_reward.made_up import made_up
from examples.train_reward.steps import Step, concordance, distinct, interval, siblings
from spex_agents.rewards.asking.profiles import SKYWORK

BATCH = 8
PENALTY = 30.0
"""Of the squared weights, against the sum of all steps' losses."""


def tokens_of(tokenizer: Any, row: Solution) -> tuple[list[int], list[int]]:
    """What the profile writes, piece by piece, and where each step's score is read."""
    pieces = cast(list[str], SKYWORK.prompt(row["question"], row["steps"]))  # it is `apart`
    ids: list[int] = []
    ends = []
    for number, piece in enumerate(pieces):
        ids += tokenizer(piece, add_special_tokens=number == 0)["input_ids"]
        if number and piece == SKYWORK.mark:
            ends.append(len(ids) - 1)
    return ids, ends


def padded(torch: Any, sequences: Sequence[list[int]], fill: int) -> Any:
    """On the right: what comes later does not reach what was before."""
    longest = max(map(len, sequences))
    return torch.tensor([[*ids, *[fill] * (longest - len(ids))] for ids in sequences])


def states(
    torch: Any,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Solution],
    *,
    layers: Sequence[int],
    kept: Path,
) -> list[Any]:
    """For each row what some layers say at the ends of its steps, (steps, layers, width).

    Args:
        torch: The module.
        model: Without a head, and without what comes after the last of the layers.
        tokenizer: Its own.
        rows: Solutions.
        layers: After how many layers.
        kept: Takes what is done after each batch, and is gone on with if it is there.
    """
    done: dict[tuple[str, ...], Any] = torch.load(kept) if kept.exists() else {}
    left = [row for row in rows if _key(row) not in done]
    for first in range(0, len(left), BATCH):
        batch = left[first : first + BATCH]
        encoded = [tokens_of(tokenizer, row) for row in batch]
        ids = padded(torch, [tokens for tokens, _ in encoded], tokenizer.eos_token_id)
        with torch.no_grad():
            said = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        every = torch.stack([said[layer] for layer in layers], 2)
        for number, (row, (_, ends)) in enumerate(zip(batch, encoded, strict=True)):
            done[_key(row)] = every[number, ends].half()
        torch.save(done, kept)
        print(f"{first + len(batch)} of {len(left)} solutions", flush=True)
    return [done[_key(row)] for row in rows]


def _key(row: Solution) -> tuple[str, ...]:
    return (row["question"], *row["steps"])


class Head:
    """A logistic regression on one layer's normalised states; both classes weigh the same.

    Args:
        torch: The module.
        norm: The model's last norm, its weights 1.
        layer: Which of the layers that a step's state tells.
        steps: What is learnt from.
    """

    def __init__(self, torch: Any, norm: Any, layer: int, steps: Sequence[Step]) -> None:
        self.torch, self.norm, self.layer = torch, norm, layer
        states = self._normalised(steps)
        labels = torch.tensor([step.label for step in steps])
        scale = states.std(0) + 1e-3
        share = labels.mean().clamp(0.05, 0.95)
        balance = labels / share + (1 - labels) / (1 - share)
        weights = torch.zeros(states.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=150, line_search_fn="strong_wolfe")

        def loss() -> Any:
            optimizer.zero_grad()
            wrong = torch.nn.functional.binary_cross_entropy_with_logits(
                states / scale @ weights, labels, weight=balance
            )
            whole = wrong + PENALTY * weights.square().sum() / len(steps)
            whole.backward()
            return whole

        optimizer.step(loss)
        self.weights = weights.detach() / scale

    def _normalised(self, steps: Sequence[Step]) -> Any:
        with self.torch.no_grad():
            return self.norm(self.torch.stack([step.state[self.layer] for step in steps]).float())

    def scores(self, steps: Sequence[Step]) -> list[float]:
        return cast(list[float], (self._normalised(steps) @ self.weights).tolist())


def shares(head: Head, steps: Sequence[Step]) -> tuple[float | None, list[tuple[float, int]]]:
    """The concordance over all steps, and that among siblings, question by question."""
    scores = head.scores(steps)
    everywhere = concordance(scores, [step.label for step in steps])
    return everywhere, list(siblings(steps, scores).values())


def best_layer(
    fit: Callable[[int, Sequence[Step]], Head],
    layers: Sequence[int],
    steps: Sequence[Step],
    others: Sequence[Step],
) -> int:
    """The layer whose head is best on questions that it has not seen, by a fifth at a time.

    Args:
        fit: Makes a head for the layer of that place.
        layers: After how many layers.
        steps: What is learnt from, and looked at.
        others: What is learnt from besides.

    Returns:
        Its place.
    """
    questions = sorted({step.question for step in steps})
    Random(1).shuffle(questions)
    won: dict[int, float] = {}
    for layer, after in enumerate(layers):
        counted: list[tuple[float, int]] = []
        for fold in range(5):
            out = set(questions[fold::5])
            head = fit(layer, [*others, *(step for step in steps if step.question not in out)])
            counted += shares(head, [step for step in steps if step.question in out])[1]
        won[layer] = sum(won for won, _ in counted) / max(1, sum(of for _, of in counted))
        print(f"after {after} layers: {won[layer]:.0%} of siblings in order", flush=True)
    return max(won, key=lambda layer: won[layer])


def said(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def main() -> None:
    import torch  # noqa: PLC0415 (seconds, and it comes with SGLang)
    from transformers import (  # noqa: PLC0415 (as above)
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of the policy")
    parser.add_argument("--solutions", type=Path, default=Path("solutions.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("reward"))
    parser.add_argument("--made-up", type=int, default=40, help="solutions with made-up mistakes")
    parser.add_argument("--labels", choices=("checked", "monte-carlo"), default="checked")
    parser.add_argument("--states", type=Path, default=Path("states.pt"), help="kept there")
    given = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        given.model, num_labels=1, dtype=torch.float32
    )
    trunk = model.model
    torch.nn.init.ones_(trunk.norm.weight)
    depth = len(trunk.layers)
    layers = range(max(1, depth // 3), max(2, 2 * depth // 3 + 1), 2)
    trunk.layers = trunk.layers[: layers[-1] + 1]  # what the last one says is normalised already
    rows: list[Solution] = [json.loads(line) for line in given.solutions.open()]
    labels = monte_carlo(rows) if given.labels == "monte-carlo" else [checked(row) for row in rows]
    once = {_key(row): at for at, row in enumerate(rows)}.values()
    more = made_up(given.made_up if given.labels == "checked" else 0)
    known = [*(rows[at] for at in once), *more]
    labels = [*(labels[at] for at in once), *map(checked, more)]
    own = {row["question"] for row in rows}
    steps = distinct(
        known, labels, states(torch, trunk, tokenizer, known, layers=layers, kept=given.states)
    )
    held = set(Random(0).sample(sorted(own), max(1, len(own) // 3)))
    train = [step for step in steps if step.question in own - held]
    test = [step for step in steps if step.question in held]
    others = [step for step in steps if step.question not in own]

    def fit(layer: int, steps: Sequence[Step]) -> Head:
        return Head(torch, trunk.norm, layer, steps)

    place = best_layer(fit, layers, train, others)
    head = fit(place, [*train, *others])
    everywhere, by_question = shares(head, test)
    print(
        f"{len(train)} steps of {len(own - held)} problems and {len(others)} made-up ones to learn "
        f"from, {len(test)} of {len(held)} unseen problems"
    )
    print(f"of two of these the better one scores higher {said(everywhere)} of the time")
    if (among := interval(by_question)) is not None:
        share, low, high = among
        pairs = sum(of for _, of in by_question)
        print(
            f"of two of one problem and depth {share:.0%} ({low:.0%} to {high:.0%}, {pairs} pairs)"
        )
    trunk.layers = trunk.layers[: layers[place]]
    model.config.num_hidden_layers = layers[place]
    model.config.pad_token_id = tokenizer.eos_token_id
    with torch.no_grad():
        model.score.weight.copy_(head.weights[None])
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
