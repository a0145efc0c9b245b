"""The reward that is trained on a model's own solutions: which problems, and which labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from examples.train_reward.collect import collect, kept, training_problems
from examples.train_reward.labels import Solution, monte_carlo
from examples.train_reward.train import concordance
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


async def test_a_collection_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    asked: list[str] = []

    async def write(question: str, steps: Sequence[str], seed: int) -> str:
        asked.append(question)
        return "The answer is 7"

    problems = [Stated(question=name, answer="7") for name in ("one", "two", "three")]
    whole = [Solution(question="one", steps=["The answer is 7"], right=True)] * 2
    half = Solution(question="two", steps=["The answer is 8"], right=False)
    out = tmp_path / "solutions.jsonl"
    lines = [json.dumps(row) for row in [*whole, half]]
    out.write_text("\n".join([*lines, lines[-1][:20]]))  # ended in the middle of a line
    rows = kept(out, 2)
    assert rows == whole
    await collect(Proposer(write), problems, 2, rows.extend, {row["question"] for row in rows})
    assert sorted(row["question"] for row in rows) == ["one", "one", "three", "three", "two", "two"]
    assert set(asked) == {"two", "three"}


def test_the_better_of_two_steps_scores_higher_as_often_as_is_said() -> None:
    assert concordance([0.9, 0.2, 0.4], [1, 0, 0.5]) == 1
    assert concordance([0.9, 0.2, 0.4], [0, 1, 1]) == 0
    assert concordance([3, 3], [0, 1]) == 0.5
    assert concordance([3, 1], [0, 0]) is None
