"""Which answers of a server cost one path, and which end the search."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scripted_server import Answer, scripted_server

from spex_agents.engines import OpenAIEngine
from spex_agents.errors import EngineUnavailable
from spex_agents.rewards import Verifier
from spex_agents.search import BestOfN, Limits
from spex_agents.speculation import Result, SearchConfig, solve

FINE = Answer(tokens=("The answer", " is", " 4."))


async def indifferent(question: str, steps: Sequence[str]) -> float:
    return 0.5


async def searched(answer: Answer) -> Result:
    """A search of four paths, the second of which is answered so whenever it is asked for."""
    async with scripted_server() as server:
        server.default = FINE
        server.script.extend([FINE, answer])
        async with OpenAIEngine(server.url, retries=0, max_concurrency=1) as engine:
            config = SearchConfig(
                engine=engine,
                policy=BestOfN(width=4),
                reward=Verifier(indifferent),
                limits=Limits(depth=1),
                vote="majority",
                termination=None,
                speculation=None,
            )
            return await solve(config, "What is 2 + 2?")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=400, said="the prompt was filtered by the content policy"),
        Answer(status=400, said="maximum context length is 8 tokens, you requested 900"),
        Answer(status=422, said="the prompt cannot be read"),
        Answer(status=500, said="internal error"),
        Answer(then="drop"),
        Answer(then="stop_short"),
        Answer(then="garbage"),
        Answer(then="error", said="out of memory"),
        Answer(tokens=(" ", "\n")),
        Answer(tokens=(), finish="content_filter"),
    ],
    ids=lambda answer: answer.said or f"{answer.then} {answer.finish} {len(answer.tokens)}",
)
async def test_a_fault_of_one_prompt_costs_its_path_alone(answer: Answer) -> None:
    found = await searched(answer)
    assert len(found.failures) == found.ledger.lost == 1
    assert len(found.tree) == 4
    assert (found.answer, len(found.ballots)) == ("4", 3)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 429])
async def test_what_would_hit_any_prompt_ends_the_search_with_the_best_so_far(status: int) -> None:
    with pytest.raises(EngineUnavailable, match=str(status)) as raised:
        await searched(Answer(status=status, said="not for you"))
    assert isinstance(raised.value.partial, Result)


async def test_a_used_up_quota_ends_the_search() -> None:
    quota = Answer(
        status=429, said="insufficient_quota", error_fields={"code": "insufficient_quota"}
    )
    with pytest.raises(EngineUnavailable, match="billing"):
        await searched(quota)
