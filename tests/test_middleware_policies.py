"""Every policy as an agent's: each searches over messages, or is refused before any call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from pydantic import Field

from spex_agents import SpexMiddleware
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import SettingsError
from spex_agents.search import AbMcts, Action, AdaptiveConsistency, BestOfN, Lats, Path, Policy, Rap
from spex_agents.search.registry import POLICIES, make_policy, sizes
from spex_agents.speculation import Speculation

REFUSED = {"rstar-actions"}
SMALL = {"width": 4, "rollouts": 4}


class Looking(BaseChatModel):
    """Looks one of three words up, by its seed; says what it has found."""

    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "looking"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.seen.append(messages)
        seed: int = kwargs.get("seed", 0)
        last = messages[-1]
        if isinstance(last, ToolMessage):
            said = AIMessage(f"it is the {last.text}")
        else:
            word = ["apple", "pear", "plum"][seed % 3]
            said = AIMessage(
                "",
                tool_calls=[{"name": "look_up", "args": {"word": word}, "id": f"call-{seed}"}],
            )
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.1)
        return self._generate(messages, **kwargs)


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return f"meaning of {word}"


async def likes_pears(messages: Sequence[BaseMessage]) -> float:
    await asyncio.sleep(0.3)
    return 0.9 if "pear" in messages[-1].text else 0.2


def sized(name: str) -> Policy:
    return make_policy(name, **{size: SMALL[size] for size in sizes(name)})


def searched(
    policy: Policy, speculation: Speculation | None, **settings: Any
) -> tuple[list[Any], list[list[BaseMessage]]]:
    """What an agent comes to, and all conversations that its model was shown."""
    model = Looking()

    async def run() -> list[Any]:
        middleware = SpexMiddleware(
            policy=policy,
            pure=True,
            free_of_side_effects=["look_up"],
            seed_parameter="seed",
            speculation=speculation,
            **{"reward": likes_pears, "depth": 3, **settings},
        )
        agent = create_agent(model, [look_up], middleware=[middleware])
        state = await agent.ainvoke({"messages": [HumanMessage("Which fruit?")]})
        messages: list[Any] = state["messages"]
        return messages

    return run_virtual(run()), model.seen


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - REFUSED))
def test_each_policy_finds_the_same_message_off_and_on(name: str) -> None:
    policy = sized(name)
    (off, _), (on, seen) = (searched(policy, each) for each in (None, Speculation()))
    assert [message.text for message in on] == [message.text for message in off]
    assert on[1].tool_calls[0]["name"] == "look_up"
    assert on[-1].text.startswith("it is the meaning of ")
    reports = [found[1].response_metadata["spex"] for found in (off, on)]
    assert reports[0]["tree_sha256"] == reports[1]["tree_sha256"]
    assert reports[0]["candidates"] == reports[1]["candidates"] >= 1
    assert reports[0]["dropped"] == 0
    for messages in seen:
        assert messages[0].text == "Which fruit?"
        told = [each.text for each in messages[1:] if isinstance(each, HumanMessage)]
        assert all("drafts of your next message" in text for text in told)
        calls = [call for each in messages for call in getattr(each, "tool_calls", ())]
        assert len(calls) == sum(isinstance(each, ToolMessage) for each in messages)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_policy_whose_prompts_rest_on_words_is_refused(name: str) -> None:
    with pytest.raises(
        SettingsError, match=r"'rephrase' writes a question .*take a policy without"
    ):
        SpexMiddleware(policy=name)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (AbMcts(models=("", "large")), "asks for the engine 'large'; an agent has one model"),
        (Rap(select="puct"), "needs log-probabilities"),
    ],
    ids=["models", "prior"],
)
def test_what_an_agent_has_not_is_refused(policy: Policy, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        SpexMiddleware(policy=policy)


def test_a_cue_is_no_part_of_a_message() -> None:
    class Cued(BestOfN):
        def action(self, path: Path) -> Action:
            return Action(name="cued", cue="Next: ", user="{question}\n\nBe brief.", goes_on=True)

    messages, seen = searched(Cued(width=2), None, depth=1)
    assert {each[-1].text for each in seen if len(each) == 1} == {"Which fruit?"}
    assert messages[-1].text.startswith("it is the")


def test_samples_are_asked_for_until_the_majority_of_messages_is_settled() -> None:

    messages, seen = searched(AdaptiveConsistency(width=30), None, reward=None)
    first = [each for each in seen if len(each) == 1]
    assert len(first) < 30
    assert messages[1].response_metadata["spex"]["candidates"] <= 3


def test_a_prompt_of_ones_own_is_told_as_it_is() -> None:
    mine = Lats().again
    own = Lats(
        rollouts=3,
        width=1,
        again=Action(name="mine", user="Tried:\n{attempts}\nOnce more.", to_end=True, refines=True),
    )
    assert mine != own.again
    _, seen = searched(own, None)
    told = [each[-1].text for each in seen if len(each) == 2]
    assert told
    assert all(text.startswith("Tried:\n") for text in told if text != "Which fruit?")
