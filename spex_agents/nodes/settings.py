"""What a search node, graph or tool may be given besides its engine."""

from __future__ import annotations

from typing import TypedDict

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract
from spex_agents.answers.termination import Stop
from spex_agents.answers.votes import Vote
from spex_agents.engines.base import Engine, Sampling
from spex_agents.engines.functions import ProposeFunction, as_engine
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.rewards import Reward, RewardFunction, as_reward
from spex_agents.search.limits import Limits
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.policy import Policy
from spex_agents.speculation.config import SearchConfig, Speculation


class SearchSettings(TypedDict, total=False):
    """Keywords of a search; what is left out is as in `SearchConfig`.

    Attributes:
        policy: What to expand; `Rebase()` by default.
        reward: How good a thought is: a `Reward`, or an async function of the question and the
            texts of the steps that returns a number in [0, 1]; None for the engine's own
            log-probabilities. A function runs ahead only if it is declared free of side effects,
            as ``Verifier(function, pure=True)``.
        limits: Caps on thoughts and paths.
        sampling: How tokens are drawn.
        template: How the question becomes a conversation.
        extract: Finds an answer in a path's text.
        canonical: Brings it to the form in which answers are counted, and which is the answer;
            called in a thread.
        vote: How the answers of the leaves are counted.
        stop: When to end before the policy does; None for never.
        speculation: How far to run ahead; None for not at all. The result is the same.
    """

    policy: Policy
    reward: Reward | RewardFunction | None
    limits: Limits
    sampling: Sampling
    template: PromptTemplate
    extract: Extract
    canonical: Canonical
    vote: Vote
    stop: Stop | None
    speculation: Speculation | None


def search_config(engine: Engine | ProposeFunction, settings: SearchSettings) -> SearchConfig:
    """The search that `settings` describe.

    Raises:
        SettingsError: The parts do not fit together.
    """
    writer = as_engine(engine)
    given = {"policy": Rebase(), **settings, "reward": as_reward(settings.get("reward"), writer)}
    return SearchConfig(engine=writer, **given)  # type: ignore[arg-type]
