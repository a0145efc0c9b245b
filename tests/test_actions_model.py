"""Prompts of a policy's own, on the real model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from spex_agents.engines.base import Request
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.search import Limits, Policy, RstarActions, Thought, TotBfs, Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import solve

pytestmark = [pytest.mark.model, pytest.mark.slow]

QUESTION = "A pen costs 3 dollars and a book costs 5 dollars. What do 4 pens and 2 books cost?"


class Short:
    """Short thoughts are good."""

    name = "short"
    needs_logprobs = False
    pure = True

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        return 1 / (1 + len(thoughts[-1].text) / 100)


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(slots=4, context=1024)
    yield engine
    asyncio.run(engine.aclose())


async def same_tree(engine: EmbeddedEngine, policy: Policy, depth: int) -> Tree:
    """The tree of a search, which running ahead has left the same."""

    async def search(speculation: Speculation | None) -> Tree:
        limits = Limits(step_tokens=32, path_tokens=120, depth=depth)
        config = SearchConfig(
            engine=engine, policy=policy, reward=Short(), limits=limits, speculation=speculation
        )
        return (await solve(config, QUESTION, seed=1)).tree

    on, off = await search(Speculation()), await search(None)
    assert on.agrees(off)
    assert list(on.thoughts) == list(off.thoughts)
    return on


async def test_proposals_are_lines_of_a_list_that_differ(engine: EmbeddedEngine) -> None:
    tree = await same_tree(engine, TotBfs(width=3, keep=1, generate="propose"), 2)
    texts = [thought.text.strip() for thought in tree.thoughts.values()]
    assert all(texts)
    assert not any("\n" in text for text in texts)
    assert len(set(texts[:3])) == len(set(texts[3:])) == 3


async def test_five_actions_write_what_they_ask_for(engine: EmbeddedEngine) -> None:
    policy = RstarActions(rollouts=9, width=1, depth=3)
    tree = await same_tree(engine, policy, 3)
    written = {path: thought for path, thought in tree.thoughts.items() if not thought.failed}
    assert len(written) > 0.8 * len(tree)  # the model may have nothing to add
    for path, thought in written.items():
        action = policy.action(path)
        assert thought.text.startswith(action.cue)
        assert thought.text.removeprefix(action.cue).strip()
        if action.again:
            asked = tree.thought(path[:-1]).text.partition(" Answer:")[0]
            assert thought.text.startswith(f"{asked} Answer:")
    names = {policy.action(path).name for path in tree.thoughts}
    assert names == {"one step", "answer", "sub-question", "answer again", "rephrase"}
