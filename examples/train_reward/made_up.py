"""Solutions with made-up mistakes: what the model's own are too few to teach."""

from __future__ import annotations

from random import Random

from examples.train_reward.labels import Solution
from spex_agents.problems.weekday_sums import weekday_sum

RIGHT = 0.65
"""How often a sum holds."""


def mistake(total: int, daily: int, rng: Random) -> int:
    """A wrong sum of the kinds that small models write: a digit off, no carry, a number again."""
    right = total + daily
    off = [right + by for by in (-10, 10, 20, -1, 1, -2, 2)]
    others = [total, total // 10 * 10 + right % 10, int(str(right)[::-1]), right + daily]
    return rng.choice([number for number in off + others if number > 0 and number != right])


def made_up(count: int, seed: int = 0) -> list[Solution]:
    """Running totals, each of whose steps may be wrong and is gone on from as it stands.

    Their numbers are outside of what `collect` and the accuracy table ask for.

    Args:
        count: Solutions.
        seed: Decides numbers and mistakes.
    """
    rng = Random(seed)
    rows: list[Solution] = []
    while len(rows) < count:
        start, daily = rng.randint(4, 30), rng.randint(2, 12)
        if start in range(5, 21) and daily in range(3, 10):
            continue
        problem, total, steps = weekday_sum(start, daily), start, []
        for day in (line.partition(":")[0] for line in problem.question.splitlines()[1:]):
            holds = rng.random() < RIGHT
            result = total + daily if holds else mistake(total, daily, rng)
            steps.append(f"{day}: {total} + {daily} = {result}")
            total = result
        answer = total if rng.random() < RIGHT else total + rng.choice((-10, -1, 1, 10))
        steps.append(f"The answer is {answer}")
        right = str(answer) == problem.answer
        rows.append(Solution(question=problem.question, steps=steps, right=right))
    return rows
