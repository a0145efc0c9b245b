"""Step two: a process reward head on the small model, from what `collect` wrote.

``python -m examples.train_reward.train --model DIR --solutions solutions.jsonl --out reward`` needs
torch and transformers, which come with SGLang. Every layer's state at the ends of steps is computed
once; then a logistic regression for each layer shows where right and wrong steps differ, and the
best one becomes the head of a model that ends there.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

from examples.train_reward.labels import Solution, checked, monte_carlo
from spex_agents.rewards.asking.profiles import SKYWORK

BATCH = 8
RESAMPLED = 1000
PENALTY = 30.0
"""Of the squared weights, against the sum of all steps' losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step in its path.

    Attributes:
        question: Of the path.
        texts: The path's steps, this one last.
        label: How good it is.
        state: What each layer says at its end, (layers, width).
    """

    question: str
    texts: tuple[str, ...]
    label: float
    state: Any


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
    torch: Any, model: Any, tokenizer: Any, rows: Sequence[Solution], kept: Path
) -> list[Any]:
    """For each row what every layer says at the ends of its steps, (steps, layers, width).

    Args:
        torch: The module.
        model: Without a head.
        tokenizer: Its own.
        rows: Solutions.
        kept: Takes what is done after each batch, and is gone on with if it is there.
    """
    done: list[Any] = torch.load(kept) if kept.exists() else []
    for first in range(len(done), len(rows), BATCH):
        encoded = [tokens_of(tokenizer, row) for row in rows[first : first + BATCH]]
        ids = padded(torch, [tokens for tokens, _ in encoded], tokenizer.eos_token_id)
        with torch.no_grad():
            said = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        every = torch.stack(said[1:-1], 2)  # after the last layer it is normalised already
        done += [every[row, ends].half() for row, (_, ends) in enumerate(encoded)]
        torch.save(done, kept)
        print(f"{len(done)} of {len(rows)} solutions", flush=True)
    return done


def distinct(
    rows: Sequence[Solution], labels: Sequence[Sequence[float]], said: Sequence[Any]
) -> list[Step]:
    """Each step once, of all solutions that begin alike."""
    found: dict[tuple[str, ...], Step] = {}
    for row, own, state in zip(rows, labels, said, strict=True):
        for end, label in enumerate(own, 1):
            texts = tuple(row["steps"][:end])
            step = Step(question=row["question"], texts=texts, label=label, state=state[end - 1])
            found.setdefault((row["question"], *texts), step)
    return list(found.values())


def compared(said: Iterable[tuple[float, float]]) -> tuple[float, int]:
    """How many pairs of (score, label) with different labels are in the right order, of how many.

    Equal scores are half in order.
    """
    told = list(said)
    wins = [
        (one > other) + (one == other) / 2
        for one, label in told
        for other, worse in told
        if label > worse
    ]
    return sum(wins), len(wins)


def concordance(scores: Sequence[float], labels: Sequence[float]) -> float | None:
    """How often, of two steps with different labels, the better one scores higher.

    With labels of 0 and 1 that is the area under the ROC curve. None where all labels are equal.
    """
    won, pairs = compared(zip(scores, labels, strict=True))
    return won / pairs if pairs else None


def siblings(steps: Sequence[Step], scores: Sequence[float]) -> dict[str, tuple[float, int]]:
    """`compared` for each question, among steps that a search would choose between: of one depth.

    That a first step is wrong more often than a later one helps nobody there.
    """
    groups: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for step, score in zip(steps, scores, strict=True):
        groups[step.question, len(step.texts)].append((score, step.label))
    found: dict[str, tuple[float, int]] = {}
    for (question, _), said in groups.items():
        won, pairs = compared(said)
        before = found.get(question, (0.0, 0))
        found[question] = (before[0] + won, before[1] + pairs)
    return found


def interval(by_question: Sequence[tuple[float, int]]) -> tuple[float, float, float] | None:
    """A share of pairs, and the middle 95 % of it over questions drawn again with replacement."""
    rng = Random(0)

    def share(drawn: Sequence[tuple[float, int]]) -> float | None:
        pairs = sum(of for _, of in drawn)
        return sum(won for won, _ in drawn) / pairs if pairs else None

    if (whole := share(by_question)) is None:
        return None
    again = (share(rng.choices(by_question, k=len(by_question))) for _ in range(RESAMPLED))
    shares = sorted(each for each in again if each is not None)
    return whole, shares[len(shares) // 40], shares[-1 - len(shares) // 40]


class Head:
    """A logistic regression on one layer's normalised states; both classes weigh the same.

    Args:
        torch: The module.
        norm: The model's last norm, its weights 1.
        layer: Which layer, the first one being 0.
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
    fit: Callable[[int, Sequence[Step]], Head], layers: Iterable[int], steps: Sequence[Step]
) -> int:
    """The layer whose head is best on questions that it has not seen, by a fifth at a time."""
    questions = sorted({step.question for step in steps})
    Random(1).shuffle(questions)
    won: dict[int, float] = {}
    for layer in layers:
        counted: list[tuple[float, int]] = []
        for fold in range(5):
            out = set(questions[fold::5])
            head = fit(layer, [step for step in steps if step.question not in out])
            counted += shares(head, [step for step in steps if step.question in out])[1]
        won[layer] = sum(won for won, _ in counted) / max(1, sum(of for _, of in counted))
        print(f"after {layer + 1} layers: {won[layer]:.0%} of siblings in order", flush=True)
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
    parser.add_argument("--labels", choices=("checked", "monte-carlo"), default="checked")
    parser.add_argument("--states", type=Path, default=Path("states.pt"), help="kept there")
    given = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        given.model, num_labels=1, dtype=torch.float32
    )
    torch.nn.init.ones_(model.model.norm.weight)
    rows: list[Solution] = [json.loads(line) for line in given.solutions.open()]
    labels = monte_carlo(rows) if given.labels == "monte-carlo" else [checked(row) for row in rows]
    once = {(row["question"], *row["steps"]): at for at, row in enumerate(rows)}.values()
    rows, labels = [rows[at] for at in once], [labels[at] for at in once]
    steps = distinct(rows, labels, states(torch, model.model, tokenizer, rows, given.states))
    questions = sorted({step.question for step in steps})
    held = set(Random(0).sample(questions, max(1, len(questions) // 3)))
    train = [step for step in steps if step.question not in held]
    test = [step for step in steps if step.question in held]

    def fit(layer: int, steps: Sequence[Step]) -> Head:
        return Head(torch, model.model.norm, layer, steps)

    layer = best_layer(fit, range(7, len(model.model.layers) - 1, 2), train)
    head = fit(layer, train)
    everywhere, by_question = shares(head, test)
    print(f"{len(train)} steps to learn from, {len(test)} of {len(held)} unseen problems")
    print(f"of two of these the better one scores higher {said(everywhere)} of the time")
    if (among := interval(by_question)) is not None:
        share, low, high = among
        print(f"of two of one problem and depth {share:.0%} ({low:.0%} to {high:.0%})")
    model.model.layers = model.model.layers[: layer + 1]
    model.config.num_hidden_layers = layer + 1
    model.config.pad_token_id = tokenizer.eos_token_id
    with torch.no_grad():
        model.score.weight.copy_(head.weights[None])
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
