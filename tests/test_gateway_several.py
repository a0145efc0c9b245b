"""A gateway's searches over several of its engines, by the model's name."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from gateways import QUESTION, gateway

from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.world import SyntheticWorld
from spex_agents.errors import SettingsError
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import AbMcts, Limits
from spex_agents.search.registry import POLICIES, sizes
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import Result, solve

SIZE = {"depth": 4, "path_tokens": 4096, "seed": 3}


def large() -> SimulatedEngine:
    return SimulatedEngine(speed=300, world=SyntheticWorld(mean_tokens=30))


async def same_search() -> Result:
    config = SearchConfig(
        engine=SimulatedEngine(speed=300),
        engines={"large": large()},
        policy=AbMcts(rollouts=8, models=("", "large")),
        reward=SimulatedReward(latency=0),
        limits=Limits(depth=4, path_tokens=4096),
        speculation=None,
    )
    return await solve(config, "What is 5 + 7?", seed=3)


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_model_named_after_two_engines_is_written_by_both(ahead: bool) -> None:
    expected = await same_search()
    other = large()
    async with gateway(more={"large": other}) as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex+large/ab-mcts-8",
            messages=QUESTION,
            extra_body={"spex": {**SIZE, "speculation": ahead}},
        )
        told = (done.model_extra or {})["spex"]
        assert told["tree_sha256"] == expected.tree.sha256()
        assert done.choices[0].message.content == expected.answer
        await running.idle()
        assert min(running.engine.decoded_tokens, other.decoded_tokens) > 0
    written = {path[-1] % 2 for path in expected.tree.thoughts}
    assert written == {0, 1}


async def test_models_of_several_engines_are_listed_and_found() -> None:
    async with gateway(more={"large": large()}) as running, running.client() as client:
        names = [model.id async for model in client.models.list()]
        assert "spex+large/ab-mcts-32" in names
        assert not any("+" in name and "/ab-mcts" not in name for name in names)
        assert (await client.models.retrieve("large+spex/ab-mcts-m-8")).id


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("spex+large/rebase-8", 400, "asks one model, not large as well; .*ab-mcts, ab-mcts-m"),
        ("spex+spex/ab-mcts-8", 404, "each once"),
        ("spex+/ab-mcts-8", 404, "ENGINE\\+ENGINE"),
        ("spex+small/ab-mcts-8", 404, "an engine among spex, large"),
    ],
)
async def test_what_is_no_model_of_several_is_refused(model: str, code: int, said: str) -> None:
    async with gateway(more={"large": large()}) as running, running.client() as client:
        with pytest.raises(openai.APIStatusError, match=said) as refused:
            await client.chat.completions.create(model=model, messages=QUESTION)
        assert refused.value.status_code == code
        body: Any = refused.value.body
        assert body["param"] == "model"


async def test_each_policy_answers_by_its_name() -> None:
    async with gateway(speed=3000) as running, running.client() as client:
        for name in POLICIES:
            size = {each: 2 for each in sizes(name) if each == "width"}
            done = await client.chat.completions.create(
                model=f"spex/{name}-2",
                messages=QUESTION,
                extra_body={"spex": {"depth": 3, "step_tokens": 64, "seed": 0, **size}},
            )
            told = (done.model_extra or {})["spex"]
            assert told["tree_sha256"], name
            assert done.choices[0].message.content is not None, name


def test_one_engine_has_no_models_of_several() -> None:
    names = Catalogue({"spex": SimulatedEngine()}).names()
    assert not any("+" in name for name in names)


def test_an_engines_name_has_no_plus() -> None:
    with pytest.raises(SettingsError, match=r"'a\+b': a name has letters"):
        Catalogue({"a+b": SimulatedEngine()})
