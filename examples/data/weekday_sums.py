"""Writes the problems of weekday_sums.jsonl: ``python examples/data/weekday_sums.py 2027 40``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from spex_agents.problems.weekday_sums import weekday_sums


def main(seed: int, count: int) -> None:
    for problem in weekday_sums(seed, count):
        print(json.dumps(asdict(problem)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
