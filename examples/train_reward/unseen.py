"""Running totals that a trained head has not seen, for ``spex compare --problems unseen.jsonl``.

``python -m examples.train_reward.unseen --solutions solutions.jsonl --out unseen.jsonl`` leaves out
all that `collect` asked, whether the head has learnt from it or was judged by it.
"""

import argparse
import json
from collections.abc import Container
from dataclasses import asdict
from pathlib import Path

from examples.train_reward.collect import training_problems
from spex_agents.problems import Stated
from spex_agents.problems.weekday_sums import weekday_sums


def unseen(learnt: Container[str]) -> list[Stated]:
    """Those of the accuracy table, and what is left of the others.

    Args:
        learnt: Questions of the solutions.
    """
    problems = [*weekday_sums(), *training_problems()]
    return [problem for problem in problems if problem.question not in learnt]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solutions", type=Path, default=Path("solutions.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("unseen.jsonl"))
    given = parser.parse_args()
    learnt = {json.loads(line)["question"] for line in given.solutions.open()}
    with given.out.open("w") as out:
        out.writelines(json.dumps(asdict(problem)) + "\n" for problem in unseen(learnt))


if __name__ == "__main__":
    main()
