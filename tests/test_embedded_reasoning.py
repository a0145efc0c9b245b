"""The embedded engine with a model that reasons first: the small one, shown how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from reasoning_shots import OPENS, PARAGRAPHS, TEMPLATE

from spex_agents.answers import last_number
from spex_agents.engines.base import Request
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError
from spex_agents.rewards import Confidence
from spex_agents.search import Limits, Rebase
from spex_agents.search.tree import Thought
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import solve

pytestmark = pytest.mark.model


@asynccontextmanager
async def reasons(*, opens: bool = True, **settings: Any) -> AsyncIterator[EmbeddedEngine]:
    """An engine whose chat template opens a block of reasoning, as those of such models do."""
    async with EmbeddedEngine(slots=4, context=512, **settings) as engine:
        if opens:
            llama: Any = engine._batcher._llama  # type: ignore[union-attr]
            llama._template = llama._template.environment.from_string(OPENS)
        yield engine


async def write(engine: EmbeddedEngine, prompt: Prompt, *, max_tokens: int = 12) -> Thought:
    request = Request(id="run/0", seed=1)
    thought = await engine.generate(prompt, request, sampling=PARAGRAPHS, max_tokens=max_tokens)
    assert request.tokens == thought.tokens
    return thought


@pytest.mark.parametrize("opens", [True, False])
async def test_reasoning_is_kept_apart_and_counted_apart(opens: bool) -> None:
    async with reasons(opens=opens, thinking="keep") as engine:
        thought = await write(engine, TEMPLATE.prompt("What is 4 + 4?", ()))
        assert thought.reasoning == "I add 4 and 4.\n\nThat makes 8."
        assert (thought.text, thought.finish) == ("It is 8.", "stop")
        assert 12 < thought.reasoning_tokens < thought.tokens
        assert len(thought.logprobs or ()) == thought.tokens - thought.reasoning_tokens
        step = replace(thought, text="It is", finish="length", ends=False)
        begun = TEMPLATE.prompt("What is 4 + 4?", [step])
        after = await write(engine, begun)
    assert (after.text, after.reasoning) == (" 8.", "")


async def test_reasoning_that_uses_up_its_tokens_is_said_to_be_all_there_is() -> None:
    async with reasons(thinking="keep", thinking_tokens=6) as engine:
        thought = await write(engine, TEMPLATE.prompt("What is 4 + 4?", ()))
    assert (thought.text, thought.finish, thought.ends) == ("", "reasoning", True)
    assert thought.tokens == thought.reasoning_tokens == 6


async def test_a_block_that_a_template_opens_whatever_it_is_told_is_closed() -> None:
    always = OPENS.replace("{% if enable_thinking %}", "").replace("{% endif %}", "")
    async with reasons(thinking="off") as engine:
        llama: Any = engine._batcher._llama  # type: ignore[union-attr]
        asked = TEMPLATE.prompt("What is 4 + 4?", ())
        plain, _ = llama.tokens(asked, thinks=False)
        llama._template = llama._template.environment.from_string(always)
        closed, within = llama.tokens(asked, thinks=False)
        assert closed[: len(plain)] == plain
        assert llama.text(plain[-1], closed[len(plain) :]) == "<think>\n\n</think>\n\n"
        assert not within
        assert llama.tokens(asked, thinks=True)[1]


async def test_pieces_of_the_reasoning_are_searched_as_thoughts() -> None:
    trees = []
    async with reasons(thinking="steps") as engine:
        for speculation in (None, Speculation()):
            config = SearchConfig(
                engine=engine,
                policy=Rebase(width=3),
                reward=Confidence(over="lowest-group", window=4),
                template=TEMPLATE,
                sampling=replace(PARAGRAPHS, temperature=0.6),
                limits=Limits(step_tokens=24, depth=5),
                extract=last_number,
                speculation=speculation,
            )
            result = await solve(config, "What is 4 + 4?", seed=2)
            trees.append(result.tree.sha256())
    assert trees[0] == trees[1]
    assert result.answer == "8"
    assert result.path is not None
    first, *_, last = result.tree.chain(result.path)
    assert len(result.path) > 2
    assert first.text.startswith("<think>\n")
    assert "<think>" not in last.text
    assert not first.reasoning
    assert first.logprobs


def test_what_becomes_of_reasoning_has_names() -> None:
    with pytest.raises(SettingsError, match="thinking='on': must be one of auto, off, keep, steps"):
        EmbeddedEngine(thinking="on")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="thinking_tokens=-1"):
        EmbeddedEngine(thinking_tokens=-1)
