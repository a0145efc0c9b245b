"""The reward that is trained on a model's own solutions: which problems, and which labels."""

from __future__ import annotations

from collections.abc import Sequence

from examples.train_reward.collect import collect, training_problems
from examples.train_reward.labels import Solution, monte_carlo
from spex_agents.engines import Proposer
from spex_agents.problems import Stated
from spex_agents.problems.weekday_sums import weekday_sums


def test_no_problem_of_the_accuracy_table_is_learnt_from() -> None:
    asked = {problem.question for problem in weekday_sums()}
    train = [problem.question for problem in training_problems()]
    assert len(train) == len(set(train)) == 71
    assert not asked & set(train)


def test_a_step_is_as_good_as_the_share_of_right_answers_after_it() -> None:
    rows = [
        Solution(question="one", steps=["a", "b", "x"], right=True),
        Solution(question="one", steps=["a", "b", "y"], right=False),
        Solution(question="one", steps=["a", "c"], right=False),
        Solution(question="two", steps=["a"], right=True),
    ]
    third = 1 / 3
    assert monte_carlo(rows) == [[third, 0.5, 1.0], [third, 0.5, 0.0], [third, 0.0], [1.0]]


async def test_solutions_are_kept_with_their_steps_and_whether_they_are_right() -> None:
    async def write(question: str, steps: Sequence[str], seed: int) -> str:
        return f"Monday: {3 + seed % 2} + 4 = 7\nThe answer is 7"

    problem = Stated(question="Start: 3\nMonday: + 4", answer="7")
    rows: list[Solution] = []
    await collect(Proposer(write), [problem, problem], 3, rows.extend)
    assert len(rows) == 6
    assert all(row["right"] and row["steps"][-1] == "The answer is 7" for row in rows)
    assert {len(row["steps"]) for row in rows} == {2}
