"""Step three: the trained head as a reward, for ``--reward examples.train_reward.reward:trained``.

``SPEX_REWARD`` says where it is: an address at which ``spex serve`` serves it, or the directory
that `train` wrote, ``reward`` by default. That is loaded in this process, which needs torch and
transformers beside the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from examples.train_reward.labels import Solution
from examples.train_reward.train import padded, tokens_of
from spex_agents.rewards import Aggregate, Batched, Candidate, Reward
from spex_agents.rewards.asking.process import ProcessReward
from spex_agents.rewards.asking.profiles import SKYWORK

PLACE = os.environ.get("SPEX_REWARD", "reward")


@cache
def _loaded() -> tuple[Any, Any, Any]:
    import torch  # noqa: PLC0415 (seconds, and it comes with SGLang)
    from transformers import (  # noqa: PLC0415 (as above)
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    model = AutoModelForSequenceClassification.from_pretrained(PLACE, dtype=torch.float32)
    return torch, model.eval(), AutoTokenizer.from_pretrained(PLACE)


def _worst(candidates: Sequence[Candidate]) -> list[float]:
    """The score of each path's worst step: one pass of the model scores them all."""
    torch, model, tokenizer = _loaded()
    rows = [
        Solution(question=question, steps=[step.strip() for step in steps], right=False)
        for question, steps in candidates
    ]
    encoded = [tokens_of(tokenizer, row) for row in rows]
    ids = padded(torch, [tokens for tokens, _ in encoded], tokenizer.eos_token_id)
    with torch.no_grad():
        said = model.model(input_ids=ids, use_cache=False).last_hidden_state
        scores = model.score(said).squeeze(-1).sigmoid()
        worst = [scores[number, ends].min() for number, (_, ends) in enumerate(encoded)]
    return cast(list[float], torch.stack(worst).tolist())


async def _scored(candidates: Sequence[Candidate]) -> list[float]:
    return await asyncio.to_thread(_worst, candidates)


trained: Reward = (
    Aggregate(ProcessReward(PLACE, SKYWORK), by="min")
    if PLACE.startswith("http")
    else Batched(_scored, size=8, pure=True, name="trained")
)
"""A path is as good as its worst step: each is judged by itself."""
