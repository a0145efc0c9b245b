"""The race's harness: its world, its server, and this library as a contestant."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from benchmarks.race.__main__ import run, serving
from benchmarks.race.contests import CONTESTS, OURS, Contestant
from benchmarks.race.world import DELIMITER, calculated, judged, problems, written


def test_a_reply_without_a_slip_has_the_right_answer_and_the_better_reward() -> None:
    right = wrong = 0
    rewards: dict[bool, list[float]] = {True: [], False: []}
    for problem in problems(20):
        for key in map(str, range(5)):
            text = DELIMITER.join(written(problem, "", key, again=False))
            assert text == DELIMITER.join(written(problem, "", key, again=False))
            rewards[problem.right(text)].append(judged(problem, text))
            right += problem.right(text)
            wrong += not problem.right(text)
    assert right > 20
    assert wrong > 20
    mean = {sound: sum(given) / len(given) for sound, given in rewards.items()}
    assert mean[True] > mean[False] + 0.1


def test_steps_go_on_from_what_is_there() -> None:
    (problem,) = problems(1)
    first, *rest = written(problem, "", "a key", again=False)
    sign, operand = problem.operations[1]
    value = int(first.partition("= ")[2].partition(".")[0])
    (second, *_) = written(problem, first, "another", again=False)
    assert f"{value} {sign} {operand} = " in second
    assert len(written(problem, first, "another", again=False)) == len(rest)
    assert calculated(7, "-", 9) == -2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(2, 0, speed=50) as url:
        yield url


def test_running_ahead_gives_the_same_answers(server: str) -> None:
    off, on, *_ = (
        run("consistency", entry, sys.executable, server, count=2, seed=0, at_once=2)
        for entry in CONTESTS["consistency"].entries
        if entry.settings.get("policy") == "adaptive-consistency"
    )
    assert (off.error, on.error) == ("", "")
    assert off.problems == on.problems == 2
    assert [row["right"] for row in on.rows] == [row["right"] for row in off.rows]
    assert all(row["answered"] for row in (*on.rows, *off.rows))
    assert on.tokens >= off.tokens > 0


@pytest.mark.slow
def test_a_contestant_that_fails_says_why(server: str) -> None:
    entry = Contestant(name="broken", program="spex", environment=OURS, settings={"policy": "none"})
    line = run("beam", entry, sys.executable, server, count=1, seed=0, at_once=1)
    assert "none" in line.error
