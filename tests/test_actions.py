"""Prompts of a policy's own: what is asked for, and that running ahead changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import QUESTION, WatchedEngine, make_engine, run_search

from spex_agents.bench.trace import TraceReward
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt, PromptTemplate
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.trace import Recorded, TraceWorld
from spex_agents.engines.simulated.world import SyntheticWorld, quality_in
from spex_agents.search import (
    Decision,
    Expand,
    Finish,
    Limits,
    Path,
    Policy,
    RstarActions,
    Thought,
    TreeView,
)
from spex_agents.search.action import STEP, WHOLE, Action, told
from spex_agents.search.policy import State, children
from spex_agents.speculation.config import Speculation

PROPOSE = Action(
    name="propose",
    user="{question}\n\nSo far:\n{steps}\nNext steps that could be taken, one a line:",
    goes_on=True,
    lists=True,
)
ASK = Action(name="ask", cue="Now ask: ", goes_on=True)


@dataclass(frozen=True)
class TwoDeep(Policy):
    """`width` thoughts, and below the best of them again; the leaves are written to the end."""

    above: Action
    below: Action
    width: int = 3

    def action(self, path: Path) -> Action:
        return self.above if len(path) == 1 else self.below

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        if len(state) == 2:
            return state, Finish()
        live = [(i,) for i in range(self.width) if state and not tree.thought((i,)).ends]
        if state and not live:
            return (*state, 1), Finish()
        parent = max(live, key=tree.reward) if state else ()
        return (*state, 1), Expand(children(parent, self.width))


class Asked:
    """A world of thoughts that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Prompt, Sampling, int]] = []

    def policy_engine(self) -> Any:
        engine = make_engine()
        generate = engine.inner.generate

        async def listening(
            prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
        ) -> Thought:
            self.asked.append((prompt, sampling, max_tokens))
            return await generate(prompt, request, sampling=sampling, max_tokens=max_tokens)

        engine.inner.generate = listening  # type: ignore[method-assign]
        return engine


def asked(policy: Policy, **settings: Any) -> tuple[Mapping[Path, Thought], list[Any]]:
    world = Asked()
    outcome = run_search(policy, engine=world.policy_engine(), **settings)
    return outcome.tree.thoughts, world.asked


def test_a_listed_thought_goes_on_with_its_elder_siblings() -> None:
    thoughts, calls = asked(TwoDeep(PROPOSE, STEP))
    texts = [thoughts[(index,)].text for index in range(3)]
    replies = [prompt.reply for prompt, _, _ in calls[:3]]
    assert replies == ["", f"{texts[0]}\n", f"{texts[0]}\n{texts[1]}\n"]
    assert all(not thoughts[(index,)].ends for index in range(3))


def test_steps_may_be_told_in_the_users_turn() -> None:
    thoughts, calls = asked(TwoDeep(STEP, PROPOSE))
    parent = next(path for path in thoughts if len(path) == 2)[:1]
    prompt = calls[3][0]
    assert prompt.messages[-1].content == (
        f"{QUESTION}\n\nSo far:\n{thoughts[parent].text}\n\n"
        "Next steps that could be taken, one a line:"
    )
    assert prompt.reply == ""


def test_a_cue_begins_the_thought_and_is_part_of_its_text() -> None:
    thoughts, calls = asked(TwoDeep(ASK, STEP))
    assert all(prompt.reply == "Now ask: " for prompt, _, _ in calls[:3])
    assert all(thoughts[(index,)].text.startswith("Now ask: ") for index in range(3))
    assert calls[3][0].reply.startswith("Now ask: ")


def test_an_answer_is_written_to_the_end_of_its_path() -> None:
    _, calls = asked(TwoDeep(STEP, WHOLE))
    assert [sampling.stop for _, sampling, _ in calls] == 3 * [("\n",)] + 3 * [()]
    assert calls[3][2] > calls[0][2]


def test_a_brace_in_a_question_is_no_field() -> None:
    prompt = PromptTemplate().prompt("{steps} {x}", (), Action(user="{question}! {steps}."))
    assert prompt.messages[-1].content == "{steps} {x}! ."


def thought(text: str) -> Thought:
    return Thought(text=text, tokens=1)


RESTATE = Action(name="rephrase", cue="In other words: ", restates=True)
AGAIN = Action(name="again", again=" Answer:")


def test_a_restated_question_is_asked_in_the_place_of_the_original() -> None:
    steps = [
        (thought("Let us see."), STEP),
        (thought("In other words: What is twelve?"), RESTATE),
        (thought("5 + 7"), STEP),
    ]
    question, thoughts, action = told("What is 5 + 7?", steps)
    assert question == "What is twelve?"
    assert [each.text for each in thoughts] == ["5 + 7"]
    assert action == STEP


def test_a_restatement_of_nothing_leaves_the_question() -> None:
    assert told("What?", [(thought("In other words: "), RESTATE)])[0] == "What?"


@pytest.mark.parametrize(
    ("asked", "begun"),
    [
        ("Sub-question: How many? Answer: 3.", "Sub-question: How many? Answer:"),
        ("Sub-question: How many?", "Sub-question: How many? Answer:"),
    ],
)
def test_what_is_answered_again_does_not_see_its_first_answer(asked: str, begun: str) -> None:
    first = [(thought("Step one."), STEP), (thought(asked), ASK)]
    _, thoughts, action = told("What?", first, AGAIN)
    assert [each.text for each in thoughts] == ["Step one."]
    assert action.cue == begun
    again = [*first, (thought(f"{begun} 4."), AGAIN)]
    _, thoughts, _ = told("What?", again)
    assert [each.text for each in thoughts] == ["Step one.", f"{begun} 4."]


def test_searches_ask_as_their_actions_tell() -> None:
    policy = RstarActions(rollouts=40, width=1)
    thoughts, calls = asked(policy, limits=Limits(depth=4, path_tokens=1000))
    rephrased = thoughts[(3,)].text.removeprefix("In other words: ")
    below = [prompt for prompt, _, _ in calls if prompt.messages[-1].content == rephrased]
    assert any(prompt.reply == "" for prompt in below)
    again = [path for path in thoughts if len(path) > 1 and policy.action(path).again]
    assert again
    for path in again:
        assert thoughts[path].text.startswith(thoughts[path[:-1]].text + " Answer:")


def test_a_simulated_world_sees_the_path_however_it_is_told() -> None:
    # It reads the quality of the parent from the text, and how deep a thought is.
    world = SyntheticWorld(step_spread=0.0, ends=0.0)
    engine = WatchedEngine(SimulatedEngine(world))
    thoughts = run_search(TwoDeep(PROPOSE, PROPOSE), engine=engine).tree.thoughts
    qualities = {quality_in(each.text) for each in thoughts.values()}
    assert len(qualities) == 1
    early = WatchedEngine(SimulatedEngine(SyntheticWorld(ends=1.0, ends_from=2)))
    thoughts = run_search(TwoDeep(PROPOSE, PROPOSE), engine=early).tree.thoughts
    assert [each.ends for each in thoughts.values()] == [False] * 3 + [True] * 3


def test_a_trace_serves_policies_with_words_of_their_own() -> None:
    rows = [
        Recorded(
            question=QUESTION,
            depth=depth,
            before="",
            seed=0,
            text=f"{depth} it is",
            tokens=3,
            finish="step",
            logprob=None,
            reward=depth / 10,
        )
        for depth in (1, 2)
    ]
    world = TraceWorld(rows)
    engine = WatchedEngine(SimulatedEngine(world))
    tree = run_search(TwoDeep(ASK, PROPOSE), engine=engine, reward=TraceReward(world=world)).tree
    assert {each.text for each in tree.thoughts.values()} == {"Now ask: 1 it is", "2 it is"}
    assert {tree.reward(path) for path in tree.thoughts} == {0.1, 0.2}


@pytest.mark.parametrize("above", [PROPOSE, ASK, STEP], ids=lambda action: action.name)
@pytest.mark.parametrize("below", [PROPOSE, WHOLE], ids=lambda action: action.name)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_running_ahead_of_any_action_leaves_the_tree_the_same(
    above: Action, below: Action, seed: int
) -> None:
    policy = TwoDeep(above, below)
    on = run_search(policy, seed=seed, speculation=Speculation())
    assert on.tree == run_search(policy, seed=seed).tree


def test_guesses_go_on_with_their_elders_too() -> None:
    on = run_search(TwoDeep(PROPOSE, PROPOSE), seed=3, speculation=Speculation())
    assert on.ledger.hits > 0
