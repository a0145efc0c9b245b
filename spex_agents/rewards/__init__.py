"""How good a thought is: the reward protocol, and rewards that need no trained reward model."""

from __future__ import annotations

from spex_agents.engines.base import Engine
from spex_agents.errors import SettingsError
from spex_agents.rewards.asking.group_vote import VOTE_PROMPT, GroupVote
from spex_agents.rewards.asking.judge import JUDGE_PROMPT, Judge
from spex_agents.rewards.asking.value import VALUE_PROMPT, Value
from spex_agents.rewards.asking.votes import VoteConfidence
from spex_agents.rewards.base import (
    GroupReward,
    Reward,
    RewardFunction,
    check_members,
    check_reward,
)
from spex_agents.rewards.checking.arithmetic import Calculator
from spex_agents.rewards.checking.batched import Batched, BatchFunction, Candidate
from spex_agents.rewards.checking.verifier import Verifier
from spex_agents.rewards.combining.aggregate import Aggregate
from spex_agents.rewards.combining.cache import Cached
from spex_agents.rewards.combining.calibration import (
    Calibrated,
    Calibration,
    Outcome,
    outcomes,
    outcomes_of,
)
from spex_agents.rewards.combining.ensemble import Ensemble
from spex_agents.rewards.combining.resilient import Resilient
from spex_agents.rewards.confidence import Confidence
from spex_agents.rewards.simulated import SimulatedReward

__all__ = [
    "JUDGE_PROMPT",
    "VALUE_PROMPT",
    "VOTE_PROMPT",
    "Aggregate",
    "BatchFunction",
    "Batched",
    "Cached",
    "Calculator",
    "Calibrated",
    "Calibration",
    "Candidate",
    "Confidence",
    "Ensemble",
    "GroupReward",
    "GroupVote",
    "Judge",
    "Outcome",
    "Resilient",
    "Reward",
    "RewardFunction",
    "SimulatedReward",
    "Value",
    "Verifier",
    "VoteConfidence",
    "as_reward",
    "check_reward",
    "outcomes",
    "outcomes_of",
]


def as_reward(reward: Reward | RewardFunction | None, engine: Engine) -> Reward:
    """Return the reward that `reward` stands for.

    Args:
        reward: A reward; an async function ``(question, steps) -> float``, taken to have side
            effects (else wrap it: ``Verifier(function, pure=True)``); or None for the engine's own
            log-probabilities, or its own opinion (`Judge`) where it gives none.
        engine: The search's engine.

    Raises:
        SettingsError: It is none of these, or None and the engine can give neither.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> as_reward(None, SimulatedEngine()).name
        'confidence'
    """
    if reward is None:
        judge = Judge(engine) if engine.features.labels else None
        if engine.features.logprobs:
            return Confidence(otherwise=judge if engine.features.untried else None)
        if judge is not None:
            return judge
        raise SettingsError(
            f"reward=None: {engine.name} gives no log-probabilities to score thoughts by; pass a "
            "reward: an async function (question, steps) -> float, a Judge or a VoteConfidence"
        )
    if isinstance(reward, type) or hasattr(reward, "score"):
        return check_members(reward)
    if callable(reward):
        return Verifier(reward)
    raise SettingsError(
        f"reward={reward!r}: must be a Reward, such as Judge(model) of spex_agents.rewards; an "
        "async function (question, steps) -> float; or None for the engine's own "
        "log-probabilities, or its opinion (Judge) where it gives none, as of chat models"
    )
