"""Writes the problems of weekday_sums.jsonl: ``python examples/data/weekday_sums.py 2027 40``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import product
from random import Random

from spex_agents.demo import SHOWN, weekday_sum


def main(seed: int, count: int) -> None:
    numbers = [pair for pair in product(range(5, 21), range(3, 10)) if pair not in SHOWN]
    for start, daily in Random(seed).sample(numbers, count):
        print(json.dumps(asdict(weekday_sum(start, daily))))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
