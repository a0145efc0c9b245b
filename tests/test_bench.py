"""The benchmarks: what they report, that they repeat, and what they refuse."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from spex_agents.bench.case import Case
from spex_agents.bench.drafts import WAYS, DraftComparison, Rate, Round
from spex_agents.bench.predictor import measure
from spex_agents.bench.real import compare
from spex_agents.bench.report import draft_tables
from spex_agents.bench.sim import run
from spex_agents.bench.targets import PAPER, TARGETS
from spex_agents.bench.trace import TraceReward, record, shipped_trace
from spex_agents.cli import app
from spex_agents.engines.prompts import Prompt, PromptTemplate
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.trace import Recorded, TraceWorld, dump
from spex_agents.errors import RewardError, SettingsError, SpexError
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase, Rstar, Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end, solve
from spex_agents.view import read_recording

SMALL = ("--policy", "rstar", "--rollouts", "4", "--seeds", "2")
KEYS = {
    *("policy", "width", "rollouts", "queries", "reward_latency", "seeds", "off_s", "on_s"),
    *("oracle_s", "speedup", "oracle_share", "hit_rate", "waste_ratio", "demanded_slowdown"),
    *("predictor_ms_per_event", "same_tree"),
}


def spex(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def sim(*arguments: str) -> dict[str, Any]:
    result = spex("bench", "sim", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def without_computing_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "predictor_ms_per_event": 0} for row in rows]


def test_a_row_has_every_figure() -> None:
    (row,) = sim(*SMALL)["rows"]
    assert row.keys() >= KEYS
    assert (row["policy"], row["width"], row["rollouts"], row["queries"]) == ("rstar", 4, 4, 1)


def test_speculation_is_faster_and_the_tree_the_same() -> None:
    (row,) = sim(*SMALL)["rows"]
    assert row["same_tree"] == row["seeds"] == 2
    assert row["speedup"] > 1.5
    assert row["oracle_s"] <= row["on_s"] < row["off_s"]
    assert row["off_s"] == row["full_s"]


def test_two_runs_differ_in_computing_time_alone() -> None:
    first, second = (without_computing_time(sim(*SMALL)["rows"]) for _ in range(2))
    assert first == second


def test_repeated_options_make_a_table() -> None:
    several = ("--policy", "rebase", "--queries", "1", "--queries", "2", "--width", "4")
    rows = sim(*SMALL, *several, "--reward-latency", "0.05", "--reward-latency", "1")["rows"]
    assert [(row["policy"], row["reward_latency"], row["queries"]) for row in rows] == [
        (policy, latency, queries)
        for policy in ("rstar", "rebase")
        for latency in (0.05, 1)
        for queries in (1, 2)
    ]
    assert all(row["same_tree"] == 2 for row in rows)


def test_a_policy_of_ones_own_is_measured_beside_a_named_one() -> None:
    own = "spex_agents.search:Rstar:create=all"
    rows = sim("--policy", own, *SMALL)["rows"]
    assert [(row["policy"], row["rollouts"], row["same_tree"]) for row in rows] == [
        (own, 4, 2),
        ("rstar", 4, 2),
    ]
    assert all(row["speedup"] > 1.5 for row in rows)


def test_the_first_search_is_recorded_off_and_on(tmp_path: Path) -> None:
    place = tmp_path / "runs"
    (row,) = sim(*SMALL, "--queries", "2", "--seeds", "1", "--record", str(place))["rows"]
    off, on = (read_recording(place / name) for name in ("off.json", "on.json"))
    assert (off["settings"]["speculation"], on["settings"]["speculation"]) == (False, True)
    assert off["tree_sha256"] == on["tree_sha256"]
    assert on["seconds"] < off["seconds"] <= row["off_s"] + 0.001  # rounded
    assert on["ledger"]["launched"] > 0
    again = spex("bench", "sim", *SMALL, "--record", str(place / "off.json"))
    assert (again.exit_code, "off.json" in again.stderr) == (2, True)


@pytest.mark.slow
def test_without_options_the_targets_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    # As many searches for each device, but two devices and not eight: they take most of the time.
    fewer = [replace(one, queries=16, replicas=2) if one.replicas > 1 else one for one in TARGETS]
    monkeypatch.setattr(import_module("spex_agents.cli.bench.sim"), "TARGETS", fewer)
    report = sim("--seeds", "1")
    assert [row["queries"] for row in report["rows"]] == [target.queries for target in fewer]
    assert report["rows"][0]["goal_speedup"] == 4.5
    assert all(row["same_tree"] == row["seeds"] for row in report["rows"])
    for row in report["rows"]:
        if row["policy"] == PAPER:
            assert row["speedup"] >= row["goal_speedup"]
            assert row["waste_ratio"] <= 0.3


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (("beam", "--width", "8"), "beam-8"),
        (("dvts:width=8",), "dvts-8"),
        (("rstar:rollouts=2,create=all",), "rstar-2:create=all"),
        (("rap:width=2", "--rollouts", "2"), "rap-2:width=2"),
        (("spex_agents.search:Rebase:width=2",), "spex_agents.search:Rebase-2"),
        (("spex_agents.search:Beam:beams=4,width=2",), "spex_agents.search:Beam-4:width=2"),
    ],
)
def test_a_search_goes_by_its_size_once(arguments: tuple[str, ...], label: str) -> None:
    (row,) = sim("--seeds", "1", "--depth", "2", "--policy", *arguments)["rows"]
    assert row["search"] == label


def test_one_is_not_told_as_several() -> None:
    result = spex("bench", "sim", "--policy", "rebase", "--width", "2", "--seeds", "1")
    assert "1 query," in result.stderr
    assert re.search(r"1 seed\s", result.stdout)


def test_a_lossy_stop_is_named_as_such() -> None:
    report = sim(*SMALL, "--termination", "margin")
    assert report["lossy"] is True
    assert "MarginStop" in report["rows"][0]["termination"]
    assert sim(*SMALL, "--termination", "exact")["lossy"] is False
    assert "lossy" in spex("bench", "sim", *SMALL, "--termination", "margin").stdout
    assert "lossy" not in spex("bench", "sim", *SMALL, "--termination", "exact").stdout


def test_an_exact_stop_keeps_every_answer() -> None:
    (row,) = sim("--policy", "rstar", "--seeds", "5", "--termination", "exact")["rows"]
    assert row["same_answer"] == 1
    assert row["off_s"] <= row["full_s"]


def test_the_table_goes_to_standard_output_and_progress_elsewhere() -> None:
    result = spex("bench", "sim", *SMALL)
    assert "rstar-4" in result.stdout
    assert "times as fast" not in result.stdout
    assert "times as fast" in result.stderr


def test_token_level_speculation_multiplies() -> None:
    (plain,) = sim(*SMALL)["rows"]
    (drafted,) = sim(*SMALL, "--acceptance-length", "2")["rows"]
    assert drafted["off_s"] < plain["off_s"]
    assert plain["off_s"] / drafted["on_s"] > 1.5 * plain["speedup"]


def test_replicas_keep_the_speed_of_each_query() -> None:
    policy = Rstar(rollouts=4)
    one = Case(preset="paper-7b", name="rstar", policy=policy, depth=5, queries=2, seeds=1)
    both = Case(
        preset="paper-7b", name="rstar", policy=policy, depth=5, queries=4, seeds=1, replicas=2
    )
    assert both.hardware().step_seconds(8) == pytest.approx(one.hardware().step_seconds(4))
    assert both.hardware().slots == 2 * one.hardware().slots


@pytest.mark.parametrize(
    "arguments",
    [
        ("--policy", "nonsense"),
        ("--policy", "rebase", "--rollouts", "4"),
        ("--policy", "rebase", "--policy", "nonsense"),
        ("--policy", "examples.own_policy:Nothing"),
        ("--preset", "nonsense"),
        ("--forecast", "nonsense"),
        ("--allocation", "nonsense"),
        ("--capacity", "nonsense"),
        ("--capacity", "0"),
        ("--termination", "nonsense"),
        ("--world", "/there/is/no/such/trace"),
        ("--seeds", "0"),
        ("--queries", "0"),
        ("--depth", "0"),
        ("--width", "0"),
        ("--reward-latency", "-1"),
        ("--reward-spread", "-1"),
        ("--replicas", "0"),
        ("--acceptance-length", "9"),
        ("--threshold", "0"),
        ("--draws", "0"),
        ("--waste", "-1"),
    ],
)
def test_bad_input_is_refused_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = spex("bench", "sim", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error: " in result.stderr


def test_a_fault_in_foreseeing_is_no_figure() -> None:
    def broken(known: object) -> dict[tuple[int, ...], float]:
        raise ZeroDivisionError

    case = Case(
        preset="paper-7b",
        name="rstar",
        policy=Rstar(rollouts=2),
        depth=5,
        seeds=1,
        speculation=Speculation(forecast=broken),
    )
    with pytest.raises(SpexError, match="no figures: "):
        run(case)


def test_forecasts_are_timed_one_by_one() -> None:
    cost = measure("rebase-8", Rebase(width=8), 5)
    assert cost.events > cost.large_events == 0
    assert 0 < cost.median_ms <= cost.slowest_ms


# Traces.


QUESTION = "What is 5 + 7?"


def searching(engine: Any, **settings: Any) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=4),
        reward=SimulatedReward(),
        limits=Limits(depth=5),
        termination=None,
        **settings,
    )


def recorded(seeds: int = 1) -> list[Recorded]:
    async def search() -> list[Recorded]:
        async with SimulatedEngine() as engine:
            return await record(searching(engine), [QUESTION], seeds=seeds)

    return run_virtual(search())


def test_a_trace_replays_the_search_it_was_recorded_from(tmp_path: Path) -> None:
    async def original() -> Tree:
        async with SimulatedEngine() as engine:
            return (await solve(searching(engine), QUESTION)).tree

    async def replayed(world: TraceWorld) -> Tree:
        async with SimulatedEngine(world) as engine:
            config = SearchConfig(
                engine=engine,
                policy=Rebase(width=4),
                reward=TraceReward(world=world),
                limits=Limits(depth=5),
                termination=None,
            )
            async with Session(config, Tree(QUESTION), run="replay") as session:
                return (await run_to_end(session)).tree

    file = tmp_path / "trace.jsonl"
    file.write_text(dump(recorded()), encoding="utf-8")
    world = TraceWorld.load(file)
    before, after = run_virtual(original()), run_virtual(replayed(world))
    assert world.synthesised(after) == 0
    assert {path: thought.text for path, thought in after.thoughts.items()} == {
        path: thought.text for path, thought in before.thoughts.items()
    }
    assert after.rewards == pytest.approx(dict(before.rewards), abs=1e-4)


def test_a_trace_holds_what_was_speculated_in_vain_too() -> None:
    async def search() -> int:
        async with SimulatedEngine() as engine:
            trees = [
                (await solve(searching(engine), QUESTION, seed=seed)).tree for seed in range(3)
            ]
            return sum(map(len, trees))

    assert len(recorded(seeds=3)) > run_virtual(search())


def test_a_thought_that_was_not_recorded_is_resampled_from_its_depth() -> None:
    rows = recorded()
    world = TraceWorld(rows)
    prompt = PromptTemplate().prompt(QUESTION, ())
    first = world.thought(prompt, seed=123456789, max_tokens=500)
    assert first == world.thought(prompt, seed=123456789, max_tokens=500)
    assert first.text in {row.text for row in rows if row.depth == 1}
    assert world.reward(QUESTION, [first]) in {row.reward for row in rows}


def test_a_replayed_thought_is_cut_at_its_cap() -> None:
    world = TraceWorld(recorded())
    cut = world.thought(PromptTemplate().prompt(QUESTION, ()), seed=1, max_tokens=2)
    assert (cut.tokens, cut.finish, cut.ends) == (2, "length", False)


def test_a_trace_knows_its_own_thoughts_and_questions_alone() -> None:
    world = TraceWorld(recorded())
    with pytest.raises(SettingsError, match="not in this trace"):
        world.thought(Prompt(()), seed=1, max_tokens=9)
    stranger = SimulatedEngine().world.thought(Prompt(()), 1, 99)
    with pytest.raises(RewardError, match="not of this trace"):
        world.reward(QUESTION, [stranger])


@pytest.mark.parametrize("line", ["no JSON", "{}", "[]", '{"question": "?", "depth": "one"}'])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(dump(recorded()[:1]) + line + "\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(f"{file}, line 2")):
        TraceWorld.load(file)


def test_an_empty_trace_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.touch()
    with pytest.raises(SettingsError, match="at least one thought"):
        TraceWorld.load(file)


def test_the_shipped_trace_is_a_world() -> None:
    assert len(shipped_trace().recorded) > 300
    first, second = (sim(*SMALL, "--world", "trace")["rows"] for _ in range(2))
    assert first[0]["same_tree"] == 2
    assert first[0]["speedup"] > 1.5
    assert without_computing_time(first) == without_computing_time(second)


# Real seconds.


async def test_off_and_on_in_turn_on_a_running_engine() -> None:
    async with SimulatedEngine(speed=100) as engine:
        comparison = await compare(
            SearchConfig(
                engine=engine, policy=Rstar(rollouts=2), reward=SimulatedReward(latency=0)
            ),
            [QUESTION],
            label="rstar-2",
            pairs=3,
        )
    assert comparison.agreement == 1
    assert len(comparison.pairs) == 3
    low, middle, high = comparison.spread()
    assert 0 < low <= middle <= high
    assert all(pair.useful_tokens > 0 for pair in comparison.pairs)


@pytest.mark.model
def test_a_small_model_off_and_on() -> None:
    size = ("--rollouts", "2", "--width", "2", "--depth", "2", "--step-tokens", "8")
    result = spex("bench", "real", *size, "--pairs", "1", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["engine"].startswith("embedded/")
    assert report["slots"] == "16 slots"
    assert 0 < report["speedup_min"] <= report["speedup"] <= report["speedup_max"]
    assert report["useful_tokens"] > 0
    assert len(report["rows"]) == 1


@pytest.mark.model
@pytest.mark.slow
def test_a_small_model_with_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spex_agents.bench.drafts.REQUESTS", (1, 2))
    monkeypatch.setattr("spex_agents.bench.drafts.TOKENS", 12)
    size = ("--rollouts", "2", "--width", "2", "--depth", "2", "--step-tokens", "8")
    result = spex("bench", "real", *size, "--pairs", "2", "--draft-tokens", "4", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["draft_tokens"], report["exactness"]) == (4, "exact")
    assert [rate["requests"] for rate in report["rates"]] == [1, 2]
    for rate in report["rates"]:
        assert rate["same_texts"]
        assert 1 <= rate["per_step"] <= 5
        assert 0 <= rate["accepted"] <= 1
    assert report["tree_agreement"] == 1
    assert report["speedup"].keys() == {"neither", "drafts", "thoughts", "both"}
    assert report["speedup"]["neither"] == 1
    assert len(report["rows"]) == 2


def test_a_comparison_with_drafts_can_be_shown() -> None:
    rate = Rate(
        requests=4, off=40.0, on=50.0, ratio=1.25, per_step=1.5, accepted=0.25, same_texts=True
    )
    rounds = [
        Round(seconds=dict(zip(WAYS, seconds, strict=True)), same_tree=same)
        for seconds, same in (((8.0, 4.0, 2.0, 1.0), True), ((9.0, 3.0, 9.0, 3.0), False))
    ]
    comparison = DraftComparison(
        label="rstar-2",
        engine="embedded/model",
        exactness="exact",
        draft_tokens=4,
        rates=[rate],
        rounds=rounds,
    )
    assert comparison.speedup("both") == 5.5
    console = Console(width=120, record=True, file=StringIO())
    for table in draft_tables(comparison):
        console.print(table)
    shown = " ".join(console.export_text().split())
    assert "4 tokens drafted for a step" in shown
    assert "drafts 2.50, thoughts 2.50, both 5.50; 50% of the trees agree" in shown


def test_drafts_of_a_server_are_not_set_here() -> None:
    result = spex("bench", "real", "--engine", "simulated", "--draft-tokens", "4")
    assert result.exit_code == 2
    assert "embedded engine only" in result.stderr


@pytest.mark.model
def test_a_trace_is_recorded_from_a_small_model(tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    size = ("--width", "2", "--depth", "2", "--step-tokens", "8")
    result = spex("trace", "record", QUESTION, "--out", str(out), *size)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    world = TraceWorld.load(out)
    assert world.questions == (QUESTION,)
    (row,) = sim(*SMALL, "--world", str(out))["rows"]
    assert row["same_tree"] == 2


def test_a_trace_that_cannot_be_written_is_refused_before_the_search(tmp_path: Path) -> None:
    result = spex("trace", "record", QUESTION, "--out", str(tmp_path / "none" / "trace.jsonl"))
    assert result.exit_code == 2
    assert "there is no directory" in result.stderr
