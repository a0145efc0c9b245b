"""Process rewards on a real SGLang: scored together, and while thoughts are written."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest
from asking import QUESTION, ask_for, config, digest, spex, until, write
from launching import Served
from processes import name_of, writing_to

from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.rewards.asking.process import ProcessReward
from spex_agents.rewards.asking.profiles import MATH_SHEPHERD, SKYWORK, Profile
from spex_agents.search import Rebase, Thought
from spex_agents.server.plugin.admission import RECENT_STEPS
from spex_agents.speculation.solving import solve

STEPS = 24


@pytest.fixture
async def writing(scheduled: str, served: Served) -> AsyncIterator[SGLangEngine]:
    """A fast random policy, and a reward head on a server of its own."""
    async with SGLangEngine(scheduled, reward_url=served.reward) as opened:
        yield opened
    await anyio.wait_all_tasks_blocked()


async def score_many(
    reward: ProcessReward, run: str, demanded: bool, scores: dict[int, float]
) -> None:
    """Score many steps, asked for at once."""

    async def score(index: int) -> None:
        thoughts = [Thought(text=f"{index} more.", tokens=4)]
        asked = ask_for(f"{run}/many.{index}/reward-1", demanded=demanded)
        scores[index] = await reward.score(QUESTION, thoughts, asked)

    async with anyio.create_task_group() as tasks:
        for index in range(STEPS):
            tasks.start_soon(score, index)


async def test_a_reward_head_scores(small: SGLangEngine) -> None:
    thoughts = [Thought(text="3 + 4 = 7.", tokens=6)]
    reward = ProcessReward(small, SKYWORK)
    scores = [
        await reward.score(QUESTION, thoughts, ask_for(f"head/{number}/reward-1"))
        for number in range(2)
    ]
    assert 0 < scores[0] < 1
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


async def test_label_tokens_score(served: Served) -> None:
    thoughts = [Thought(text="3 + 4 = 7.", tokens=6)]
    reward = ProcessReward(served.policy, MATH_SHEPHERD)
    score = await reward.score(QUESTION, thoughts, ask_for("labels/0/reward-1"))
    await reward.aclose()
    assert 0 < score < 1


@pytest.mark.parametrize(
    ("profile", "demanded"),
    [(SKYWORK, True), (SKYWORK, False), (MATH_SHEPHERD, True)],
    ids=["head", "head of guesses", "labels"],
)
async def test_scores_asked_for_at_once_are_computed_together(
    small: SGLangEngine, served: Served, profile: Profile, demanded: bool
) -> None:
    server = small.server if profile.labels else small.reward_server
    reward = ProcessReward(SGLangEngine(served.policy) if profile.labels else small, profile)
    log = served.logs / ("policy.log" if profile.labels else "reward.log")
    scheduler = next(each for each in writing_to(log) if "scheduler" in name_of(each))
    for index in range(RECENT_STEPS + 1):  # what other tests demanded is forgotten then
        alone = [Thought(text=f"{index}.", tokens=1)]
        await reward.score(QUESTION, alone, ask_for(f"batch/{demanded}/{index}/reward-1"))
    before = (await spex(server))["counters"]
    scores: dict[int, float] = {}
    async with anyio.create_task_group() as tasks:
        os.kill(scheduler, signal.SIGSTOP)  # as if it were at something else, until all are there
        try:
            tasks.start_soon(score_many, reward, f"batch/{demanded}", demanded, scores)
            await until(lambda: len(reward._server._flying) == STEPS)
        finally:
            os.kill(scheduler, signal.SIGCONT)
    after = (await spex(server))["counters"]
    kind = f"admitted_{'demanded' if demanded else 'speculative'}"
    batches = after["prefill_batches"] - before["prefill_batches"]
    print(f"\n{profile.name}: {STEPS} scores in {batches} batches")
    await reward._server.aclose()
    assert len(set(scores.values())) > 1
    assert after[kind] - before[kind] == STEPS
    assert batches <= STEPS / 2


@pytest.mark.parametrize("profile", [SKYWORK, MATH_SHEPHERD], ids=["head", "labels"])
async def test_scores_come_while_a_thought_is_written(
    writing: SGLangEngine, scheduled: str, profile: Profile
) -> None:
    reward = ProcessReward(scheduled if profile.labels else writing, profile)
    thought = ask_for(f"beside-{profile.name}/0/thought-1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(write, writing, thought, tokens=4000))
        await until(lambda: thought.tokens >= 2)
        begun = thought.tokens
        await score_many(reward, f"beside-{profile.name}", True, {})
        ended = thought.tokens
        tasks.cancel_scope.cancel()
    await reward.aclose()
    assert begun < ended < 4000  # it went on meanwhile, and is not over


async def test_a_search_scored_by_a_reward_model_keeps_its_tree(writing: SGLangEngine) -> None:
    reward = ProcessReward(writing, SKYWORK)
    off, on = [
        await solve(config(writing, Rebase(width=4), ahead=ahead, reward=reward), QUESTION, seed=5)
        for ahead in (False, True)
    ]
    assert digest(on.tree) == digest(off.tree)
    assert on.ledger.launched > 0
