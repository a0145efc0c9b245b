"""Step three: the trained head as a reward, for ``--reward examples.train_reward.reward:trained``.

``SPEX_REWARD`` says where it is: an address at which ``spex serve`` serves it, or the directory
that `train` wrote, ``reward`` by default. That is loaded in this process, which needs torch and
transformers beside the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

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


@lru_cache(maxsize=64)
def _read(question: str) -> tuple[int, Any]:
    """How many tokens a question has, and what the model keeps of them for all of its paths."""
    torch, model, tokenizer = _loaded()
    ids, _ = tokens_of(tokenizer, Solution(question=question, steps=[], right=False))
    with torch.no_grad():
        return len(ids), model.model(torch.tensor([ids]), use_cache=True).past_key_values


def _worst(candidates: Sequence[Candidate]) -> list[float]:
    """The score of each path's worst step: one pass of the model for the paths of a question."""
    torch, model, tokenizer = _loaded()
    scores: dict[int, float] = {}
    for question in {question for question, _ in candidates}:
        known, kept = _read(question)
        kept = deepcopy(kept)
        paths = {n: steps for n, (asked, steps) in enumerate(candidates) if asked == question}
        rows = [
            Solution(question=question, steps=[step.strip() for step in steps], right=False)
            for steps in paths.values()
        ]
        encoded = [tokens_of(tokenizer, row) for row in rows]
        ids = padded(torch, [tokens[known:] for tokens, _ in encoded], tokenizer.eos_token_id)
        kept.batch_repeat_interleave(len(rows))
        with torch.no_grad():
            said = model.model(ids, past_key_values=kept).last_hidden_state
            told = model.score(said).squeeze(-1).sigmoid()
        for row, number, (_, ends) in zip(told, paths, encoded, strict=True):
            scores[number] = float(row[[end - known for end in ends]].min())
    return [scores[number] for number in range(len(candidates))]


async def _scored(candidates: Sequence[Candidate]) -> list[float]:
    return await asyncio.to_thread(_worst, candidates)


trained: Reward = (
    Aggregate(ProcessReward(PLACE, SKYWORK), by="min")
    if PLACE.startswith("http")
    else Batched(_scored, size=8, pure=True, name="trained")
)
"""A path is as good as its worst step: each is judged by itself."""
