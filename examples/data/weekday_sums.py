"""Writes the problems of weekday_sums.jsonl: ``python examples/data/weekday_sums.py 2026 40``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from random import Random

from spex_agents.demo import weekday_sum


def main(seed: int, count: int) -> None:
    rng = Random(seed)
    for _ in range(count):
        print(json.dumps(asdict(weekday_sum(*rng.sample(range(1, 10), 7)))))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
