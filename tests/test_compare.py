"""Policies on a problem set: what is counted, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import SPEX
from typer.testing import CliRunner, Result

from spex_agents.bench.compare import compare
from spex_agents.bench.figures import wilson
from spex_agents.bench.journal import Journal
from spex_agents.bench.report import compare_table
from spex_agents.bench.tally import GREEDY, MAJORITY, control, summarise
from spex_agents.cli import app
from spex_agents.cli.policies import named_policies
from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import RewardError, SettingsError
from spex_agents.problems import SETS, ProblemSet, Stated
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase, Rstar, Thought
from spex_agents.search.registry import POLICIES
from spex_agents.speculation.config import SearchConfig, Speculation

QUESTIONS = tuple(
    Stated(question=f"What is {number} + {12 - number}?", answer="12") for number in range(4)
)
POLICY = {"rebase": Rebase(width=4), "rstar": Rstar(rollouts=4, width=2)}
SMALL = ("--engine", "simulated", "--width", "4", "--rollouts", "3", "--depth", "5")


def problems(count: int = 4) -> ProblemSet:
    return ProblemSet(
        name="sums", problems=tuple(enumerate(QUESTIONS[:count])), template=Stated.template
    )


def measured(
    reward: Any = None,
    count: int = 4,
    journal: Journal | None = None,
    *,
    speculation: Speculation | None = Speculation(),
    at_once: int = 1,
) -> Journal:
    async def run() -> Journal:
        async with SimulatedEngine() as engine:
            config = SearchConfig(
                engine=engine,
                policy=POLICY["rebase"],
                reward=reward or SimulatedReward(),
                limits=Limits(depth=6, step_tokens=1024, path_tokens=6000),
                termination=None,
                speculation=speculation,
            )
            with closing(journal or Journal(None, {})) as kept:
                return await compare(config, problems(count), POLICY, lambda: kept, at_once=at_once)

    return run_virtual(run())


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return measured().rows


def file_of(tmp_path: Path, count: int = 3) -> Path:
    file = tmp_path / "sums.jsonl"
    lines = [{"question": one.question, "answer": one.answer} for one in QUESTIONS[:count]]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def spex(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


def test_every_method_answers_every_problem(rows: Sequence[dict[str, Any]]) -> None:
    assert len(rows) == 4 * 4
    lines = {line.method: line for line in summarise(rows, [GREEDY, MAJORITY, *POLICY])}
    assert all((line.problems, line.failed) == (4, 0) for line in lines.values())
    for name in POLICY:
        line = lines[name]
        assert line.same_tree == line.same_answer == 1
        assert line.speedup is not None
        assert line.speedup > 1
        assert line.hit_rate is not None
        assert 0 < line.hit_rate <= 1
        assert line.control_tokens == pytest.approx(line.useful_tokens, rel=0.3)
        assert (line.p_value is None) == (line.alone is None)
        if line.alone == line.control_alone == 0:
            assert line.p_value == 1
        assert line.right - (line.alone or 0) == (line.control_right or 0) - (
            line.control_alone or 0
        )
    assert lines["rebase"].wasted_tokens > 0
    assert lines[GREEDY].on_s is lines[GREEDY].control_right is None
    assert lines[GREEDY].useful_tokens < lines["rebase"].useful_tokens


def test_the_majority_has_as_many_tokens_as_the_dearest_policy(
    rows: Sequence[dict[str, Any]],
) -> None:
    for number in range(4):
        here = {row["method"]: row["useful_tokens"] for row in rows if row["problem"] == number}
        dearest = max(here[name] for name in POLICY)
        drawn = next(
            row["samples"] for row in rows if row["problem"] == number and MAJORITY in row["method"]
        )
        longest = max(tokens for _, tokens, _ in drawn)
        assert abs(here[MAJORITY] - dearest) <= longest
        assert sum(tokens for _, tokens, _ in drawn) > 0.9 * dearest


def test_two_runs_come_to_the_same(rows: Sequence[dict[str, Any]]) -> None:
    assert measured().rows == rows


def answered(rows: Sequence[dict[str, Any]]) -> Any:
    """What rows say of answers, in whatever order they came: more samples may have been drawn."""
    timed = ("off_s", "on_s", "wasted_tokens", "same_tree", "same_answer", "launched", "hits")
    kept = [{name: row[name] for name in row if name not in (*timed, "samples")} for row in rows]
    return sorted(kept, key=lambda row: (row["problem"], row["method"]))


def test_answers_are_the_same_without_speculation_and_several_at_once(
    rows: Sequence[dict[str, Any]],
) -> None:
    kept = measured(speculation=None, at_once=3)
    assert answered(kept.rows) == answered(rows)
    lines = {line.method: line for line in summarise(kept.rows, [GREEDY, MAJORITY, *POLICY])}
    for name in POLICY:
        assert lines[name].on_s is lines[name].same_tree is lines[name].speedup is None
        assert lines[name].hit_rate is None
        assert lines[name].control_right is not None
    table = compare_table([*lines.values()], "sums")
    assert table.row_count == 4


def test_a_run_without_speculation_goes_on_with_it(rows: Sequence[dict[str, Any]]) -> None:
    journal = measured(speculation=None)
    again = measured(journal=journal)
    assert len(again.rows) == 4 * 4 + 4 * len(POLICY)
    known = summarise(rows, [GREEDY, MAJORITY, *POLICY])
    both = summarise(again.rows, [GREEDY, MAJORITY, *POLICY])
    assert [line.right for line in both] == [line.right for line in known]
    assert all(line.same_tree == 1 for line in both[2:])
    before = len(again.rows)
    assert len(measured(journal=again, speculation=None).rows) == before


@dataclass(frozen=True, kw_only=True)
class Failing:
    """Fails on one question, and scores the others as usual."""

    question: str
    name: str = "failing"
    needs_logprobs: bool = False
    pure: bool = True

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        if question == self.question:
            raise RewardError("out of order")
        return await SimulatedReward().score(question, thoughts, request)


def test_a_failure_is_counted_and_ends_nothing() -> None:
    kept = measured(Failing(question=QUESTIONS[1].question))
    lines = {line.method: line for line in summarise(kept.rows, [GREEDY, MAJORITY, *POLICY])}
    assert [(lines[name].problems, lines[name].failed) for name in POLICY] == [(3, 1), (3, 1)]
    assert (lines[GREEDY].problems, lines[MAJORITY].problems) == (4, 4)
    assert "RewardError: out of order" in {row["error"] for row in kept.rows}


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    measured(Failing(question=QUESTIONS[1].question), journal=Journal(file, {"a": 1}))
    again = measured(journal=Journal(file, {"a": 1}))
    assert all(line.failed == 0 for line in summarise(again.rows, [*POLICY]))
    assert len(again.rows) == 4 * 4 + 3  # two policies, and the majority that had aimed lower


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_run_that_was_killed_goes_on_to_the_same_rows(
    cut: int, tmp_path: Path, rows: Sequence[dict[str, Any]]
) -> None:
    file = tmp_path / "rows.jsonl"
    measured(count=2, journal=Journal(file, {}))
    text = file.read_bytes()
    file.write_bytes(text[: len(text) - cut])
    again = measured(journal=Journal(file, {}))
    assert searched(again.rows) == searched(rows)
    assert [json.loads(line) for line in file.read_text().splitlines()][1:] == json.loads(
        json.dumps(again.rows)
    )


def searched(rows: Sequence[dict[str, Any]]) -> Any:
    """Rows without what depends on how much the predictor has learnt before."""
    learnt = ("on_s", "wasted_tokens", "launched", "hits")
    kept = [{name: row[name] for name in row if name not in learnt} for row in rows]
    return json.loads(json.dumps(kept))


def test_rows_of_other_problems_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    journal = Journal(file, {})
    measured(count=1, journal=journal)
    journal.rows[0]["question"] = "another"
    with pytest.raises(SettingsError, match="greedy on problem 0 had another question"):
        measured(count=1, journal=journal)


def test_rows_that_another_run_adds_to_are_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with closing(Journal(file, {})) as first:
        first.add({"method": "greedy"})
        before = file.read_bytes()
        with pytest.raises(SettingsError, match="another run is adding to it"):
            Journal(file, {})
        outcome = spex("--problems", str(file_of(tmp_path)), *SMALL, "--rows", str(file))
        assert outcome.exit_code == 2
        assert "another run is adding to it" in outcome.stderr
        assert file.read_bytes() == before
    Journal(file, {}).close()


def test_a_row_has_the_hash_of_its_tree_and_its_hits(rows: Sequence[dict[str, Any]]) -> None:
    searched = [row for row in rows if row["method"] in POLICY]
    assert all(len(row["tree_sha256"]) == 64 for row in searched)
    assert len({row["tree_sha256"] for row in searched}) == len(searched)
    assert all(0 <= row["hits"] <= row["launched"] for row in searched)


def test_other_settings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    Journal(file, {"seed": 0, "limits": {"depth": 5, "step_tokens": 9}}).close()
    with pytest.raises(SettingsError, match=r"limits\.depth was 5, is 6; seed was 0, is 1\."):
        Journal(file, {"seed": 1, "limits": {"depth": 6, "step_tokens": 9}})


@pytest.mark.parametrize("text", ["no rows\n", "[]\n", '{"question": "1"}\n'])
def test_a_file_of_something_else_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(SettingsError, match="holds no rows of a comparison"):
        Journal(file, {})
    assert file.read_text() == text


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_wilson_interval_holds_the_share(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low - 0.001 <= right / (right + wrong) <= high + 0.001


SAMPLES = st.lists(
    st.tuples(st.sampled_from(["4", "5", None]), st.integers(1, 50)).map(
        lambda drawn: (*drawn, drawn[0] == "4")
    ),
    min_size=1,
)


@given(SAMPLES, st.integers(1, 500))
def test_the_control_takes_about_as_many_tokens(
    samples: list[tuple[str | None, int, bool]], tokens: int
) -> None:
    right, spent = control(samples, tokens)
    longest = max(each for _, each, _ in samples)
    total = sum(each for _, each, _ in samples)
    assert spent == total or abs(spent - tokens) <= longest
    if not any(held for _, _, held in samples):
        assert not right


@pytest.mark.slow
def test_the_whole_command_on_the_simulated_engine(tmp_path: Path) -> None:
    report, figure, kept = (tmp_path / name for name in ("out.json", "out.svg", "rows.jsonl"))
    command = ["--problems", str(file_of(tmp_path)), *SMALL, "--rows", str(kept)]
    outcome = spex(*command, "--json", str(report), "--figure", str(figure))
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(report.read_text())
    assert [line["method"] for line in found["lines"]] == [GREEDY, MAJORITY, *POLICIES]
    assert all(line["problems"] == 3 for line in found["lines"])
    assert all(line["same_tree"] in (1, None) for line in found["lines"])
    assert any(line["right"] for line in found["lines"])
    assert "<svg" in figure.read_text()
    for word in ("rest-mcts", "speed-up", "same tree", "sums, 3 problems"):
        assert word in outcome.stdout
    again = spex(*command, "--json", str(report), "--off")
    assert again.exit_code == 0, again.output
    assert json.loads(report.read_text()) == found
    changed = spex(*command, "--depth", "6")
    assert changed.exit_code == 2
    assert "limits.depth was 5, is 6" in changed.stderr


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_stopped(tmp_path: Path) -> None:
    kept = tmp_path / "rows.jsonl"
    command = ["compare", "--problems", str(file_of(tmp_path)), *SMALL, "--rows", str(kept)]
    running = subprocess.Popen(
        [*SPEX, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    while "1 of 3" not in running.stderr.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = kept.read_text()
    whole = before[: before.rfind("\n") + 1]
    assert spex(*command[1:]).exit_code == 0
    assert kept.read_text().startswith(whole)
    rows = [json.loads(line) for line in kept.read_text().splitlines()[1:]]
    assert len(rows) == 3 * (2 + len(POLICIES))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--problems", "gsm9k"), "must be one of weekday-sums"),
        (("--problems", "nowhere.jsonl"), "cannot be read"),
        (("--problems", "weekday-sums", "--limit", "0"), "--limit 0"),
        (("--problems", "weekday-sums", "--policy", "greedy"), "--policy greedy"),
        (
            ("--problems", "weekday-sums", "--policy", "rebase:width=x"),
            "width must be a whole number",
        ),
        (("--problems", "weekday-sums", "--policy", "rebase:rollouts=2"), "has no rollouts"),
        (("--problems", "weekday-sums", "--policy", "rap", "--policy", "rap"), "given twice"),
        (("--problems", "weekday-sums", "--json", "nowhere/x.json"), "no directory nowhere"),
        (("--problems", "weekday-sums", "--figure", "x.gif"), "must end in one of"),
        (("--problems", "weekday-sums", "--shots", "nowhere.jsonl"), "cannot be read"),
        (("--problems", "weekday-sums", "--isolation", "jail"), "must be one of auto"),
        (("--problems", "weekday-sums", "--vote", "loudest"), "--vote loudest"),
        (("--problems", "weekday-sums", "--at-once", "0"), "--at-once 0"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(options: Sequence[str], said: str) -> None:
    outcome = spex(*options, "--engine", "simulated")
    assert outcome.exit_code == 2, outcome.output
    assert said in outcome.stderr


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    outcome = spex("--problems", str(file_of(tmp_path, 0)), *SMALL)
    assert outcome.exit_code == 2
    assert "has no problem" in outcome.stderr


def test_examples_of_ones_own_are_shown_to_the_model(tmp_path: Path) -> None:
    shots, kept = tmp_path / "shots.jsonl", tmp_path / "rows.jsonl"
    shots.write_text(json.dumps({"question": "1 + 1?", "solution": "\\boxed{2}"}))
    command = ["--problems", str(file_of(tmp_path, 1)), *SMALL, "--policy", "rebase"]
    assert spex(*command, "--shots", str(shots), "--rows", str(kept)).exit_code == 0
    settings = json.loads(kept.read_text().splitlines()[0])["settings"]
    assert settings["template"]["examples"] == [["1 + 1?", "\\boxed{2}"]]
    shots.write_text('{"question": "1 + 1?"}')
    outcome = spex(*command, "--shots", str(shots))
    assert (outcome.exit_code, "line 1" in outcome.stderr) == (2, True)


def test_a_run_in_which_all_failed_says_so(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("async def broken(question, steps):\n    raise ValueError('broken')\n")
    command = ["--problems", str(file_of(tmp_path, 1)), *SMALL, "--policy", "rebase"]
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        outcome = spex(*command, "--reward", "mine:broken")
    finally:
        os.chdir(before)
    assert outcome.exit_code == 0  # the baselines need no reward
    assert "failed" in outcome.stdout
    assert "broken" in outcome.stderr


def test_help_names_every_set() -> None:
    text = " ".join(spex("--help").stdout.replace("│", " ").split())
    assert all(name in text for name in SETS)


def test_sizes_in_common_go_to_those_that_have_them() -> None:
    found = named_policies(["rebase", "rstar:width=3"], width=2, rollouts=5)
    assert found == {"rebase": Rebase(width=2), "rstar:width=3": Rstar(width=3, rollouts=5)}


@pytest.mark.model
@pytest.mark.slow
def test_the_whole_command_on_the_embedded_model(tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    small = ("--depth", "8", "--step-tokens", "24", "--path-tokens", "120", "--rollouts", "2")
    outcome = spex(
        *("--problems", "weekday-sums", "--limit", "1", "--width", "2", "--policy", "rebase"),
        *("--policy", "rstar", *small, "--json", str(report)),
    )
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(report.read_text())
    assert found["engine"].startswith("embedded/")
    assert found["reward"] == "calculator"
    assert [line["same_tree"] for line in found["lines"]] == [None, None, 1, 1]
