"""A model that begins its reply anew at each step, where it is asked to go on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessageChunk
from scripted_server import Answer, ScriptedServer, scripted_server
from test_chat_model_engine import Scripted, pieces
from writing import PROMPT, write

from spex_agents.engines.base import Sampling
from spex_agents.engines.calls.cut import REPEATED, cut, repeated
from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.openai import OpenAIEngine
from spex_agents.engines.openai.dialects import OPENAI
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError
from spex_agents.nodes import create_tot_graph
from spex_agents.search import Rebase
from spex_agents.search.tree import Thought

FIRST, SECOND, LAST = "We add the tens first.", "That makes 30 in all.", "Answer: 31"
WHOLE = "\n\n".join((FIRST, SECOND, LAST))
STEPS = Sampling(stop=("\n\n",))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def begun(*steps: str) -> Prompt:
    return Prompt(PROMPT.messages, reply="".join(f"{step}\n\n" for step in steps))


async def next_step(model: Scripted, *steps: str) -> Thought:
    return await write(ChatModelEngine(model), prompt=begun(*steps), sampling=STEPS)


async def half(question: str, steps: Sequence[str]) -> float:
    return 0.5


async def test_what_a_reply_repeats_is_no_part_of_the_tree_and_one_warning_tells(
    caplog: pytest.LogCaptureFixture,
) -> None:
    graph = create_tot_graph(
        FakeListChatModel(responses=[WHOLE]), policy=Rebase(width=2), reward=half
    ).compile()
    with caplog.at_level(logging.WARNING):
        result = await graph.ainvoke({"question": "What is 15 + 16?"})
    texts = {tuple(row["path"]): row["text"] for row in result["thoughts"]}
    assert [texts[0,], texts[0, 0], texts[0, 0, 0]] == [FIRST, SECOND, LAST]
    assert result["answer"] == "31"
    (told,) = [line for line in caplog.messages if "begins its reply anew" in line]
    assert "BestOfN" in told


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_step_is_the_first_new_one_however_the_reply_comes(size: int) -> None:
    parts = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    model = Scripted(chunks=pieces(*parts))
    assert (await next_step(model)).text == FIRST
    assert (await next_step(model, FIRST)).text == SECOND
    last = await next_step(model, FIRST, SECOND)
    assert (last.text, last.ends) == (LAST, True)
    nothing = await next_step(model, FIRST, SECOND, LAST)
    assert (nothing.text, nothing.ends) == ("", True)


async def test_a_reply_that_goes_another_way_says_no_step_again_that_is_there() -> None:
    model = Scripted(chunks=pieces(WHOLE.replace("That", "This")))
    assert (await next_step(model, FIRST, SECOND)).text == SECOND.replace("That", "This")
    other = await next_step(model, FIRST, SECOND, SECOND.replace("That", "This"))
    assert other.text == LAST


@pytest.mark.parametrize("said", ["1\n\n2", "Answer: 31", f"{FIRST[:-1]} and more.\n\nSo"])
async def test_a_step_that_only_looks_alike_is_kept(said: str) -> None:
    model = Scripted(chunks=pieces(said))
    for before in (("1",), (FIRST, SECOND)):
        assert (await next_step(model, *before)).text == said.partition("\n\n")[0]


async def test_a_reply_that_is_cut_off_before_anything_new_says_what_to_do() -> None:
    end = AIMessageChunk(content="", response_metadata={"finish_reason": "length"})
    model = Scripted(chunks=[*pieces(FIRST, "\n\n", SECOND[:9]), end])
    with pytest.raises(EngineError, match=r"began its reply anew: raise Limits"):
        await next_step(model, FIRST, SECOND)


async def test_log_probabilities_are_those_of_the_new_step() -> None:
    tokens = [FIRST, "\n\n", SECOND]
    told = {"content": [{"token": token, "logprob": -float(n)} for n, token in enumerate(tokens)]}
    model = Scripted(chunks=pieces("".join(tokens), response_metadata={"logprobs": told}))
    assert (await next_step(model, FIRST)).logprobs == (-2.0,)


async def test_a_server_that_is_asked_for_the_next_step_and_begins_anew_is_warned_of_once(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.default = Answer(tokens=(FIRST,))
    async with OpenAIEngine(server.url, dialect=OPENAI) as engine:
        with caplog.at_level(logging.WARNING):
            await write(engine, sampling=STEPS)
            assert not [line for line in caplog.messages if "anew" in line]
            for prompt in (begun(FIRST), begun(FIRST, SECOND)):
                await write(engine, prompt=prompt, sampling=STEPS)
    (told,) = [line for line in caplog.messages if "begins its reply anew" in line]
    assert "BestOfN" in told


steps = st.lists(st.text("abc 1", min_size=1, max_size=30).filter(str.strip), max_size=6)


@given(steps, steps)
def test_only_what_is_in_the_reply_so_far_is_left_out(before: list[str], said: list[str]) -> None:
    text, reply = "\n".join(said), "\n".join(before)
    end, _ = repeated(text, reply, ("\n",))
    left_out = [step.strip() for step in text[:end].split("\n") if step.strip()]
    assert set(left_out) <= {step.strip() for step in before}
    assert end == 0 or sum(map(len, left_out)) >= REPEATED


@given(steps, steps)
def test_a_reply_that_repeats_all_is_gone_on_with_to_the_letter(
    before: list[str], more: list[str]
) -> None:
    reply = "".join(f"{step}\n" for step in before)
    new = "\n".join(more)
    end, _ = repeated(reply + new, reply, ("\n",))
    if sum(len(step.strip()) for step in before) >= REPEATED:
        assert cut((reply + new)[end:].lstrip(), ("\n",)) == cut(new.lstrip(), ("\n",))
