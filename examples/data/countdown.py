"""Writes easy countdown puzzles: ``python examples/data/countdown.py 2027 100``.

Three numbers up to 20, additions and subtractions, targets from 5 to 60: what a small model can
reach at times. They are those of reasoning-gym (``pip install reasoning-gym``).
"""

from __future__ import annotations

import json
import sys

import reasoning_gym


def main(seed: int, count: int) -> None:
    puzzles = reasoning_gym.create_dataset(
        "countdown",
        seed=seed,
        size=count,
        min_numbers=3,
        max_numbers=3,
        max_value=20,
        min_target=5,
        max_target=60,
        operators=("+", "-"),
    )
    for puzzle in puzzles:
        print(json.dumps({name: puzzle["metadata"][name] for name in ("numbers", "target")}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
