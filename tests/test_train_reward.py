"""The reward that is trained on a model's own solutions: which problems, and which labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from examples.train_reward.collect import collect, kept, training_problems
from examples.train_reward.labels import Solution, checked, monte_carlo
from examples.train_reward.made_up import made_up
from examples.train_reward.steps import Step, concordance, distinct, interval, siblings
from examples.train_reward.unseen import unseen
from spex_agents.engines import Proposer
from spex_agents.problems import Stated
from spex_agents.problems.weekday_sums import weekday_sums


def test_no_problem_of_the_accuracy_table_is_learnt_from() -> None:
    asked = {problem.question for problem in weekday_sums()}
    train = [problem.question for problem in training_problems()]
    assert len(train) == len(set(train)) == 71
    assert not asked & set(train)


def test_problems_to_judge_a_head_by_are_all_that_no_solution_is_of() -> None:
    learnt = {problem.question for problem in training_problems()[:21]}
    left = [problem.question for problem in unseen(learnt)]
    assert len(left) == len(set(left)) == 90
    assert not learnt & set(left)
    assert {problem.question for problem in weekday_sums()} < set(left)


def test_a_step_is_as_good_as_the_share_of_right_answers_after_it() -> None:
    rows = [
        Solution(question="one", steps=["a", "b", "x"], right=True),
        Solution(question="one", steps=["a", "b", "y"], right=False),
        Solution(question="one", steps=["a", "c"], right=False),
        Solution(question="two", steps=["a"], right=True),
    ]
    third = 1 / 3
    assert monte_carlo(rows) == [[third, 0.5, 1.0], [third, 0.5, 0.0], [third, 0.0], [1.0]]


def test_a_step_that_holds_is_right_whatever_went_wrong_before_it() -> None:
    question = "Start: 8\nMonday: + 5\nTuesday: + 5"
    for steps, right in (
        (["Monday: 8 + 5 = 13", "Tuesday: 13 + 5 = 18", "The answer is 18"], [1, 1, 1]),
        (["Monday: 8 + 5 = 14", "Tuesday: 14 + 5 = 19", "The answer is 18"], [0, 1, 0]),
        (["Monday: 8 + 6 = 14", "Tuesday: 8 + 5 = 13", "So it is done."], [0, 0, 0]),
    ):
        assert checked(Solution(question=question, steps=steps, right=False)) == right


def test_made_up_solutions_have_right_and_wrong_steps_of_problems_that_nobody_asks() -> None:
    rows = made_up(60)
    asked = {problem.question for problem in (*training_problems(), *weekday_sums())}
    assert rows == made_up(60) != made_up(60, seed=1)
    assert made_up(20) == rows[:20]
    assert not asked & {row["question"] for row in rows}
    labels = [label for row in rows for label in checked(row)]
    assert 0.5 < sum(labels) / len(labels) < 0.8
    assert all(row["right"] for row in rows if all(checked(row)))


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


def step(question: str, *texts: str, label: float) -> Step:
    return Step(question=question, texts=texts, label=label, state=None)


def test_a_step_of_several_solutions_is_learnt_once() -> None:
    rows = [
        Solution(question="one", steps=["a", "b"], right=True),
        Solution(question="one", steps=["a", "c"], right=False),
    ]
    found = distinct(rows, [[0.5, 1], [0.5, 0]], [["A", "B"], ["A", "C"]])
    assert [(each.texts, each.label, each.state) for each in found] == [
        (("a",), 0.5, "A"),
        (("a", "b"), 1, "B"),
        (("a", "c"), 0, "C"),
    ]


def test_siblings_are_steps_of_one_problem_and_depth() -> None:
    steps = [
        step("one", "a", label=1),
        step("one", "b", label=0),
        step("one", "a", "c", label=0),
        step("one", "a", "d", label=1),
        step("two", "a", label=0),
    ]
    assert siblings(steps, [0.9, 0.1, 0.8, 0.2, 5.0]) == {"one": (1, 2), "two": (0, 0)}


def test_an_interval_is_over_questions() -> None:
    assert interval([(3, 4)] * 9) == (0.75, 0.75, 0.75)
    whole, low, high = interval([(4, 4), (0, 4)] * 8) or (0, 0, 0)
    assert low < whole == 0.5 < high
    assert interval([(0.0, 0)]) is None
