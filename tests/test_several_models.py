"""Several models in one search: each its own engine, budget and row of what was spent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from spex_agents import create_tot_graph
from spex_agents.bench.case import Case
from spex_agents.bench.searches import searches
from spex_agents.cli import app
from spex_agents.engines import Proposer, SimulatedEngine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.errors import PolicyError, SettingsError
from spex_agents.rewards import SimulatedReward
from spex_agents.search import AbMcts, Action, BestOfN, Path
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.result import Result
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.solving import solve

NAMES = ("", "quick", "slow")
QUESTION = "What is 5 + 7?"


def engines() -> dict[str, SimulatedEngine]:
    return {
        name: SimulatedEngine(hardware=Hardware(name=name or "own", slots=4, weights=weights))
        for name, weights in zip(NAMES, (0.02, 0.005, 0.07), strict=True)
    }


def search(
    policy: AbMcts, seed: int, speculation: Speculation | None
) -> tuple[Result, dict[str, SimulatedEngine]]:
    made = engines()
    config = SearchConfig(
        engine=made[""],
        engines={name: engine for name, engine in made.items() if name},
        policy=policy,
        reward=SimulatedReward(latency=0.2),
        termination=None,
        speculation=speculation,
    )
    return run_virtual(solve(config, QUESTION, seed=seed)), made


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    choice=st.sampled_from(["thompson", "ucb", "stack"]),
    posterior=st.sampled_from(["gaussian", "beta"]),
    capacity=st.sampled_from([None, 1, 3]),
)
def test_running_ahead_on_all_of_them_changes_no_thought(
    seed: int, choice: str, posterior: str, capacity: int | None
) -> None:
    policy = AbMcts(
        rollouts=12,
        models=NAMES,
        choice=choice,  # type: ignore[arg-type]
        posterior=posterior,  # type: ignore[arg-type]
    )
    off, _ = search(policy, seed, None)
    on, made = search(policy, seed, Speculation(budget=Budget(capacity)))
    assert on.tree.sha256() == off.tree.sha256()
    assert on.answer == off.answer
    for name, engine in made.items():
        row = on.engines.get(name)
        assert engine.decoded_tokens == (0 if row is None else row.decoded_tokens)
        own = [path for path in off.tree.thoughts if policy.action(path).engine == name]
        assert (0 if row is None else row.useful_tokens) == sum(
            off.tree.thought(path).tokens for path in own
        )
        assert (engine.running, engine.waiting) == (0, 0)
    rows = on.engines.values()
    assert sum(row.decoded_tokens for row in rows) == on.ledger.decoded_tokens
    assert sum(row.hits for row in rows) == on.ledger.hits
    assert sum(row.calls for row in rows) == on.ledger.calls - on.ledger.reward_calls


def test_no_model_gets_more_guesses_than_its_own_slots() -> None:
    on, made = search(AbMcts(rollouts=16, models=NAMES), 3, Speculation())
    assert on.ledger.hits > 0
    assert all(engine.hardware.slots == 4 for engine in made.values())
    assert {name for name, row in on.engines.items() if row.thought_calls} <= set(NAMES)


def test_a_model_that_there_is_not_is_told_before_anything_is_asked() -> None:
    with pytest.raises(SettingsError, match=r"asks for the engines large; engines= has small"):
        SearchConfig(
            engine=SimulatedEngine(),
            engines={"small": SimulatedEngine()},
            policy=AbMcts(models=("small", "large")),
            reward=SimulatedReward(),
        )


def test_an_action_that_names_no_engine_of_the_search_says_which_there_are() -> None:
    class Elsewhere(BestOfN):
        def action(self, path: Path) -> Action:
            return replace(BestOfN.action(self, path), engine="elsewhere")

    made = SearchConfig(
        engine=SimulatedEngine(), policy=Elsewhere(width=1), reward=SimulatedReward()
    )
    with pytest.raises(PolicyError, match="'elsewhere'; engines= has none"):
        run_virtual(solve(made, QUESTION))


def test_a_graph_takes_its_models_by_name() -> None:
    async def one(question: str, steps: Sequence[str], seed: int) -> str:
        return "\\boxed{1}"

    async def two(question: str, steps: Sequence[str], seed: int) -> str:
        return "\\boxed{2}"

    async def larger(question: str, steps: Sequence[str]) -> float:
        return float("2" in steps[-1]) / 2

    graph = create_tot_graph(
        Proposer(one),
        engines={"two": Proposer(two)},
        policy=AbMcts(rollouts=6, models=("", "two")),
        reward=larger,
    ).compile()
    assert graph.invoke({"question": "Which?"})["answer"] == "2"


def test_three_models_of_different_pace_find_the_same_tree_sooner() -> None:
    case = Case(
        preset="api",
        name="ab-mcts",
        policy=AbMcts(rollouts=24, models=("", "model-2", "model-3")),
        depth=100,
        seeds=1,
    )
    paces = [engine.hardware.step_seconds(1) for engine in case.engines().values()]
    assert len(paces) == 2
    off, on = searches(case, 0, [None]), searches(case, 0, [case.ahead()])
    assert off.hashes() == on.hashes()
    assert off.seconds / on.seconds > 2


def test_the_command_line_refuses_several_models_for_a_policy_of_one() -> None:
    result = CliRunner().invoke(app, ["bench", "sim", "--policy", "rebase", "--models", "3"])
    assert result.exit_code == 2
    assert "Rebase asks for one model only" in result.output


def spex(*options: str) -> Any:
    command = ["solve", QUESTION, "--engine", "simulated", "--policy", "ab-mcts"]
    return CliRunner().invoke(app, [*command, "--rollouts", "8", *options])


def test_the_command_line_takes_further_models_and_tells_what_each_has_spent() -> None:
    outcome = spex("--also", "quick=simulated=api", "--also", "slow=simulated", "--json")
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    assert set(told["engines"]) == {"", "quick", "slow"}
    rows = told["engines"].values()
    assert sum(row["useful_tokens"] for row in rows) == told["ledger"]["useful_tokens"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--also", "quick"), "must be NAME=ENGINE"),
        (("--also", "a=simulated", "--also", "a=simulated"), "each name once"),
        (("--also", "own=embedded"), "all engines of a search be simulated, or none"),
        (("--policy", "lats", "--also", "quick=simulated"), "take a policy over several: ab-mcts"),
    ],
)
def test_further_models_that_do_not_fit_are_refused(options: tuple[str, ...], said: str) -> None:
    outcome = spex(*options)
    assert outcome.exit_code == 2
    assert said in " ".join(outcome.stderr.split())
