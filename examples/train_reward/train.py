"""Step two: a process reward head on the small model, from what `collect` wrote.

``python -m examples.train_reward.train --model DIR --solutions solutions.jsonl --out reward`` needs
torch and transformers, which come with SGLang. What the lower layers say is computed once; only the
upper ones and the head are trained.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias, cast

from examples.train_reward.labels import Solution, monte_carlo
from spex_agents.rewards.asking.profiles import SKYWORK

BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a step ends, in which row of its batch, and how good it is."""

    row: int
    end: int
    label: float


Batch: TypeAlias = tuple[Any, list[Step]]
"""What the lower layers say, (rows, tokens, width), and the steps in it."""


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


def distinct(rows: list[Solution]) -> list[tuple[Solution, list[float]]]:
    """Each solution once, with the labels of its steps."""
    found = {
        (row["question"], *row["steps"]): (row, labels)
        for row, labels in zip(rows, monte_carlo(rows), strict=True)
    }
    return list(found.values())


def concordance(scores: Sequence[float], labels: Sequence[float]) -> float | None:
    """How often, of two steps with different labels, the better one scores higher.

    With labels of 0 and 1 that is the area under the ROC curve. None where all labels are equal.
    """
    said = list(zip(scores, labels, strict=True))
    wins = [
        (one > other) + (one == other) / 2
        for one, label in said
        for other, worse in said
        if label > worse
    ]
    return sum(wins) / len(wins) if wins else None


class Trainer:
    """The upper layers and the head, on what the lower layers make of each batch.

    Args:
        torch: The module.
        model: A sequence classifier of one label.
        layers: How many of its layers are trained.
    """

    def __init__(self, torch: Any, model: Any, layers: int) -> None:
        self.torch, self.model, self.trunk = torch, model, model.model
        self.every, self.norm = self.trunk.layers, self.trunk.norm
        self.lower = len(self.every) - layers
        self.trained = [
            *self.every[self.lower :].parameters(),
            *self.norm.parameters(),
            *model.score.parameters(),
        ]

    def prepare(self, sequences: Sequence[list[int]], fill: int) -> Any:
        """What the lower layers say of a batch."""
        trunk = self.trunk
        trunk.layers, trunk.norm = self.every[: self.lower], self.torch.nn.Identity()
        with self.torch.no_grad():
            ids = padded(self.torch, sequences, fill)
            return trunk(input_ids=ids, use_cache=False).last_hidden_state

    def scores(self, hidden: Any, steps: Sequence[Step]) -> Any:
        """The head's values at the ends of steps."""
        self.trunk.layers, self.trunk.norm = self.every[self.lower :], self.norm
        out = self.trunk(inputs_embeds=hidden, use_cache=False).last_hidden_state
        picked = out[[step.row for step in steps], [step.end for step in steps]]
        return self.model.score(picked).squeeze(-1)

    def epoch(self, batches: Sequence[Batch], optimizer: Any) -> float:
        """Train once on each batch; returns the mean loss."""
        torch, total, count = self.torch, 0.0, 0
        for hidden, steps in batches:
            labels = torch.tensor([step.label for step in steps])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                self.scores(hidden, steps), labels
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            optimizer.step()
            total, count = total + loss.item() * len(steps), count + len(steps)
        return total / max(1, count)

    def tell_apart(self, batches: Sequence[Batch]) -> float | None:
        """How often the better of two steps scores higher, in these."""
        with self.torch.no_grad():
            said = [self.scores(hidden, steps).tolist() for hidden, steps in batches]
        labels = [step.label for _, steps in batches for step in steps]
        return concordance([score for scores in said for score in scores], labels)

    def whole(self) -> Any:
        """The model as it was put together."""
        self.trunk.layers, self.trunk.norm = self.every, self.norm
        return self.model


def prepare(
    trainer: Trainer, tokenizer: Any, rows: list[Solution], held: set[str]
) -> tuple[list[Batch], list[Batch]]:
    """Batches of about equal lengths: to train on, and of problems that are held out."""
    data = [(*tokens_of(tokenizer, row), labels, row) for row, labels in distinct(rows)]
    parts: tuple[list[Batch], list[Batch]] = ([], [])
    for out, batches in zip((False, True), parts, strict=True):
        own = sorted((one for one in data if (one[3]["question"] in held) == out), key=_length)
        for first in range(0, len(own), BATCH):
            batch = own[first : first + BATCH]
            hidden = trainer.prepare([one[0] for one in batch], tokenizer.eos_token_id)
            steps = [
                Step(row=number, end=end, label=label)
                for number, one in enumerate(batch)
                for end, label in zip(one[1], one[2], strict=True)
            ]
            batches.append((hidden, steps))
    return parts


def _length(one: tuple[list[int], list[int], list[float], Solution]) -> int:
    return len(one[0])


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
    parser.add_argument("--layers", type=int, default=8, help="that are trained, from the top")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=1e-4)
    given = parser.parse_args()

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        given.model, num_labels=1, dtype=torch.float32
    )
    model.config.pad_token_id = tokenizer.eos_token_id
    rows: list[Solution] = [json.loads(line) for line in given.solutions.open()]
    questions = sorted({row["question"] for row in rows})
    held = set(Random(0).sample(questions, max(1, len(questions) // 5)))
    trainer = Trainer(torch, model, given.layers)
    train, test = prepare(trainer, tokenizer, rows, held)
    print(f"{sum(len(steps) for _, steps in train)} steps", flush=True)
    optimizer = torch.optim.AdamW(trainer.trained, lr=given.rate, weight_decay=0.01)
    for epoch in range(given.epochs):
        loss = trainer.epoch(Random(epoch).sample(train, len(train)), optimizer)
        apart = trainer.tell_apart(test)
        print(
            f"epoch {epoch + 1}: loss {loss:.3f}; of two steps of {len(held)} unseen problems "
            f"the better one scores higher {'-' if apart is None else format(apart, '.0%')}",
            flush=True,
        )
    trainer.whole().save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
