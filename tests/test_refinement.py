"""Tries that read the ones before them: what is asked, what is judged, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.engines.base import Request
from spex_agents.engines.functions import Proposer
from spex_agents.engines.prompts import Prompt, PromptTemplate
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import RewardError
from spex_agents.nodes.state import reward_rows, thought_rows, tree_of
from spex_agents.rewards import Cached, Ensemble, SimulatedReward, Verifier
from spex_agents.search import (
    Critique,
    Decision,
    Expand,
    Finish,
    Limits,
    Path,
    Policy,
    Thought,
    Tree,
    TreeView,
)
from spex_agents.search.action import Action, Try, tries
from spex_agents.search.policy import State
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import Result, solve

FIRST = Action(name="answer", to_end=True, refines=True)
AGAIN = Action(
    name="answer again",
    user="{question}\n\n{attempts}\n\nAnswer again, and better.",
    to_end=True,
    refines=True,
)


@dataclass(frozen=True)
class Chain(Policy):
    """`length` tries, each below the one before; `width` others beside each."""

    length: int = 3
    width: int = 1
    again: Action = AGAIN

    def start(self) -> State:
        return 0

    def action(self, path: Path) -> Action:
        return FIRST if len(path) == 1 else self.again

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        above = (0,) * state
        if state == self.length or (above and tree.thought(above).ends):
            return state, Finish()
        return state + 1, Expand(tuple((*above, index) for index in range(self.width)))

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        return tuple(path for path in tree.thoughts)


@dataclass(frozen=True)
class Critic:
    """Counts what it is shown, and says so."""

    latency: float = 0.5
    name: str = "critic"
    needs_logprobs: bool = False
    pure: bool = True
    speaks: bool = True

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        value = await SimulatedReward(latency=self.latency).score(question, thoughts, request)
        return Critique(value, f"It ends with {thoughts[-1].text[-12:]!r}, of {len(thoughts)}.")


class Watched(SimulatedEngine):
    """Remembers what it was asked, by request."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[int, Prompt] = {}

    async def generate(self, prompt, request, *, sampling, max_tokens):  # type: ignore[no-untyped-def]
        self.asked[request.seed] = prompt
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


def search(
    policy: Policy, *, seed: int = 1, speculation: Speculation | None = None, **changes: object
) -> tuple[Result, Watched]:
    engine = Watched()
    settings: dict[str, object] = {"reward": Critic(), "limits": Limits(), "vote": "best"}
    made = SearchConfig(
        engine=engine,
        policy=policy,
        speculation=speculation,
        **(settings | changes),  # type: ignore[arg-type]
    )
    return run_virtual(solve(made, "What is 5 + 7?", seed=seed)), engine


def test_a_try_holds_an_answer_and_its_path_goes_on() -> None:
    result, _ = search(Chain(length=3))
    assert [*result.tree.thoughts] == [(0,), (0, 0), (0, 0, 0)]
    assert all("boxed" in thought.text for thought in result.tree.thoughts.values())
    assert not any(thought.ends for thought in result.tree.thoughts.values())
    assert {ballot.path for ballot in result.ballots} == set(result.tree.thoughts)
    best = max(result.tree.rewards, key=result.tree.reward)
    assert (result.path, result.answer) == (best, result.tree.thought(best).text[-4:-2].strip("{"))


def test_a_later_try_reads_those_before_it_and_what_was_said_of_them() -> None:
    result, engine = search(Chain(length=3))
    first, second, third = (thought.text for thought in result.tree.thoughts.values())
    asked = [prompt.messages[-1].content for prompt in engine.asked.values()]
    assert asked[0] == "What is 5 + 7?"
    assert asked[1] == (
        f"What is 5 + 7?\n\nAnswer 1:\n{first}\nWhat was said of it: "
        f"It ends with {first[-12:]!r}, of 1.\n\nAnswer again, and better."
    )
    assert f"Answer 2:\n{second}\nWhat was said of it: It ends with" in asked[2]
    assert third not in asked[2]
    assert [prompt.reply for prompt in engine.asked.values()] == ["", "", ""]


def test_the_last_try_alone_is_shown_where_that_is_asked_for() -> None:
    again = Action(user="{question}|{attempt}", to_end=True, refines=True)
    result, engine = search(Chain(length=3, again=again), reward=SimulatedReward())
    second = result.tree.thought((0, 0)).text
    assert [*engine.asked.values()][2].messages[-1].content == f"What is 5 + 7?|Answer 2:\n{second}"


def test_a_function_that_writes_thoughts_gets_the_earlier_tries() -> None:
    async def write(question: str, steps: Sequence[str], seed: int) -> str:
        return f"\\boxed{{{len(steps)}}}"

    async def later_is_better(question: str, steps: Sequence[str]) -> float:
        (only,) = steps
        return int(only[7]) / 10

    made = SearchConfig(
        engine=Proposer(write),
        policy=Chain(length=4),
        reward=Verifier(later_is_better),
        vote="best",
    )
    assert run_virtual(solve(made, "How many?")).answer == "3"


def test_a_cap_of_tokens_is_of_each_try_and_one_of_depth_of_all() -> None:
    result, _ = search(Chain(length=9), limits=Limits(path_tokens=120, depth=4))
    assert len(result.tree) == 4
    assert result.tree.thought((0, 0, 0, 0)).ends
    tokens = [thought.tokens for thought in result.tree.thoughts.values()]
    assert max(tokens) <= 120 < sum(tokens)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 4),
    latency=st.sampled_from([0.0, 0.5, 20.0]),
    again=st.sampled_from([AGAIN, Action(name="again", to_end=True, refines=True)]),
)
def test_running_ahead_waits_for_words_and_changes_no_thought(
    seed: int, width: int, latency: float, again: Action
) -> None:
    policy = Chain(length=4, width=width, again=again)
    off, _ = search(policy, seed=seed, reward=Critic(latency))
    on, _ = search(policy, seed=seed, reward=Critic(latency), speculation=Speculation())
    assert on.tree.sha256() == off.tree.sha256()
    assert on.answer == off.answer
    assert off.tree.rewards == on.tree.rewards


def test_words_survive_a_checkpoint_and_count_in_the_hash() -> None:
    tree, _ = search(Chain(length=2))[0].tree, None
    state = {
        "subject": {"question": tree.question, "seed": tree.seed},
        "thoughts": thought_rows(tree.thoughts),
        "rewards": reward_rows(tree.rewards),
    }
    assert all(type(row["reward"]) is float for row in state["rewards"])  # type: ignore[index]
    back = tree_of(state)
    assert back.sha256() == tree.sha256()
    silent = tree.with_rewards({path: float(reward) for path, reward in tree.rewards.items()})
    assert silent.sha256() != tree.sha256()
    action, path = Chain().action, (0, 0, 0)
    told = list(tries(action, path, [*tree.thoughts.values()], back.rewards))
    assert [one.words[:12] for one in told] == ["It ends with", "It ends with"]


def test_words_pass_through_rewards_that_wrap_others() -> None:
    thoughts = [Thought(text="Step, quality 0.5.", tokens=3)]
    request = Request(id="r", seed=1)
    both = Ensemble((Cached(Critic()), SimulatedReward()))
    assert both.speaks
    value = run_virtual(both.score("Q", thoughts, request))
    assert isinstance(value, Critique)
    assert (float(value), value.words[:12]) == (0.5, "It ends with")


def test_a_function_has_to_say_that_it_speaks() -> None:
    async def judge(question: str, steps: Sequence[str]) -> float:
        return Critique(0.5, "Too long.")

    thoughts = [Thought(text="So.", tokens=1)]
    request = Request(id="r", seed=1)
    with pytest.raises(RewardError, match=r"Verifier\(judge, speaks=True\)"):
        run_virtual(Verifier(judge).score("Q", thoughts, request))
    speaking = run_virtual(Verifier(judge, speaks=True).score("Q", thoughts, request))
    assert isinstance(speaking, Critique)


def test_braces_in_a_try_are_no_fields() -> None:
    tried = Try((Thought(text="{question} {attempts}", tokens=3),), "{number}")
    prompt = PromptTemplate().prompt("Q", (), AGAIN, (), (tried,))
    assert "{question} {attempts}\nWhat was said of it: {number}" in prompt.messages[-1].content
