"""What a search is made of, and how far it may run ahead: plain settings, checked at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias, get_args

from spex_agents.answers.equivalence import Canonical, canonical
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.answers.termination import ExactStop, TerminationRule
from spex_agents.answers.votes import Vote, check_vote
from spex_agents.engines.base import Engine, Sampling
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import (
    PolicyError,
    SettingsError,
    at_least_one,
    at_least_zero,
    instance_of,
    one_of,
    share_above_zero,
)
from spex_agents.rewards.base import Reward
from spex_agents.rewards.combining.aggregate import WAYS, By
from spex_agents.search.action import Action
from spex_agents.search.limits import Limits
from spex_agents.search.policy import Decision, Policy, State
from spex_agents.search.registry import as_policy
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.slots.budget import Budget


@dataclass(frozen=True, slots=True)
class Known:
    """What a search knows at one moment, committed or not.

    For a policy that is `blocking` the forecast runs in a worker thread, and this is a snapshot.
    `outdated` then tells when the search has moved on, so that the forecast counts no more.
    """

    tree: Tree
    state: State
    decision: Decision | None
    thoughts: Mapping[Path, Thought]
    rewards: Mapping[Path, float]
    outdated: Callable[[], bool] = lambda: False


Forecast: TypeAlias = Callable[[Known], Mapping[Path, float]]
"""Tells paths that are not in the tree yet, each with its probability of being demanded.

Only paths whose parent's text is known, whether or not they have been begun.
"""

Merge: TypeAlias = Literal["text", "answer"] | Callable[[Sequence[str]], Sequence[Hashable]]
"""Which candidates are one: by a name, or by labels that a function gives their texts."""

ForecastName: TypeAlias = Literal["replay", "paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """How a search runs ahead of its rewards.

    Attributes:
        forecast: How paths are predicted. "replay" runs the policy on trees whose missing rewards
            are drawn; "paper" is SPEX's own rule, for comparison; or a function of your own.
        draws: Trees drawn for each prediction.
        lookahead: Decisions the policy takes on each of them, at most.
        threshold: Least probability of being demanded at which a path is begun.
        waste: How many tokens may be wasted for each useful one, about. Beyond that, only paths are
            begun that are likely enough to bring the ratio down.
        prompts: What a token of a prompt counts of a decoded one in that: 0 for nothing, 0.25 where
            a provider takes a quarter for it. A guess that is cut off has cost its whole prompt.
        budget: Slots for guesses, shared by all searches that are given it; None for the one of
            their engine.
        share: Searches of the same share get slots as if they were one. None for a share of its
            own.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> Speculation.paid().waste < Speculation().waste
        True
    """

    forecast: ForecastName | Forecast = "replay"
    draws: int = 8
    lookahead: int = 64
    threshold: float = 0.2
    waste: float = 1.5
    prompts: float = 0.0
    budget: Budget | None = None
    share: str | None = None

    def __post_init__(self) -> None:
        if self.forecast not in get_args(ForecastName) and not callable(self.forecast):
            raise SettingsError(
                f"forecast={self.forecast!r}: must be 'replay', 'paper' or a function"
            )
        at_least_one(draws=self.draws, lookahead=self.lookahead)
        share_above_zero(threshold=self.threshold)
        if not self.waste >= 0:
            raise SettingsError(f"waste={self.waste!r}: must be at least 0, or math.inf")
        at_least_zero(prompts=self.prompts)

    @classmethod
    def usual(cls, *engines: Engine) -> Self:
        """What is taken where nothing is said: `paid` if one of `engines` is, else the defaults.

        Example:
            >>> from spex_agents.engines import SimulatedEngine
            >>> Speculation.usual(SimulatedEngine()) == Speculation()
            True
        """
        return cls.paid() if any(engine.features.paid for engine in engines) else cls()

    @classmethod
    def paid(cls, **settings: Any) -> Self:
        """For engines that are paid by the token: begin early what is likely.

        Its waste is an aim, held in the mean of many searches: in a short one a wrong guess has
        been sent before it is known.

        Args:
            settings: Others than these: a `threshold` of 0.5, and a `waste` of 0.5 in which a token
                of a prompt counts a quarter (`prompts`). A higher threshold spares more.

        Example:
            >>> Speculation.paid(threshold=0.8, waste=0.1).waste
            0.1
        """
        return cls(**{"threshold": 0.5, "waste": 0.5, "prompts": 0.25, **settings})


_USUAL = Speculation()
"""Stands for that of the engines where a search is not told how far to run ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What the paths that fail may cost a search.

    A path fails by itself: its prompt is refused by a filter or does not fit the context, its
    thought is nothing but white space, its reward raises or is no number. It has ended then, has no
    answer, and the search goes on as if it had never been begun. More failures than these end the
    search, and so does a fault of the whole ([`EngineUnavailable`][spex_agents.errors]).

    Attributes:
        share: Of the thoughts of the tree, at most this part may fail.
        least: So many may fail in any case.
        reward: The reward of a failed path. With one the policy sees a path that has ended with it;
            with None, none.

    Raises:
        SettingsError: `share` or `reward` is not in [0, 1], or `least` is negative.

    Example:
        >>> Failures().many(3, of=8), Failures().many(3, of=12)
        (True, False)
    """

    share: float = 0.25
    least: int = 2
    reward: float | None = None

    def __post_init__(self) -> None:
        at_least_zero(least=self.least)
        for name, value in (("share", self.share), ("reward", self.reward)):
            if value is not None and not 0 <= value <= 1:
                raise SettingsError(f"{name}={value!r}: must lie in [0, 1]")

    def many(self, failed: int, *, of: int) -> bool:
        """Whether so many failures are too many."""
        return failed > max(self.least, self.share * of)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Everything a search needs besides its question and its seed.

    Attributes:
        engine: What writes thoughts.
        policy: Decides which thoughts to ask for.
        reward: How good a thought is.
        engines: Further engines, by the names that the policy's actions use, each with a budget.
        limits: Caps on thoughts and paths.
        sampling: How tokens are drawn; log-probabilities are switched on if the reward needs them.
        template: How the question becomes a conversation.
        extract: Finds an answer in a path's text.
        canonical: Turns an answer into the form in which answers are counted; called in a thread.
            By default answers count together if they are `spex_agents.answers.equivalent`.
        vote: How the answers of the leaves are counted.
        free_text: Where no leaf has an answer that `extract` finds, the text of the elected leaf
            is the answer; texts that agree but for case and white space are one answer.
        weight: How a vote's weight follows from the rewards on its path: the "last" one, which the
            search itself goes by, the "min", their product ("prod") or their "mean".
        merge: Which candidates of one decision are one: those of the same "text" (but for white
            space), those that have ended with the same "answer", or those to whose texts a pure
            function of yours gives equal labels; None for none. The first is gone on with; what has
            ended votes, with that one's reward. Rewards begin once all candidates are written.
        termination: When to end before the policy does; None for never.
        failures: How many paths may fail; None for none: the first failure ends the search.
        speculation: How far to run ahead; None for not at all, as with engines that are not `pure`.
            By default `Speculation.usual` of the engines.

    Raises:
        SettingsError: The parts do not fit together.

    Example:
        >>> from spex_agents import Rebase
        >>> from spex_agents.engines import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> parts = {"engine": SimulatedEngine(), "reward": SimulatedReward()}
        >>> SearchConfig(policy=Rebase(width=4), **parts).vote
        'weighted'
    """

    engine: Engine
    policy: Policy
    reward: Reward
    engines: Mapping[str, Engine] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    template: PromptTemplate = field(default_factory=PromptTemplate)
    extract: Extract = extract_answer
    canonical: Canonical = canonical
    vote: Vote = "weighted"
    free_text: bool = False
    weight: By = "last"
    merge: Merge | None = None
    termination: TerminationRule | None = field(default_factory=ExactStop)
    failures: Failures | None = field(default_factory=Failures)
    speculation: Speculation | None = _USUAL

    def __post_init__(self) -> None:
        policy = as_policy(self.policy).reading(self.extract, self.canonical)
        object.__setattr__(self, "policy", policy)
        instance_of(Limits, limits=self.limits)
        instance_of(Sampling, sampling=self.sampling)
        instance_of(PromptTemplate, template=self.template)
        instance_of(TerminationRule, or_none=True, termination=self.termination)
        instance_of(Failures, or_none=True, failures=self.failures)
        instance_of(Speculation, or_none=True, speculation=self.speculation)
        for name, function in (("extract", self.extract), ("canonical", self.canonical)):
            if not callable(function):
                raise SettingsError(f"{name}={function!r}: must be a function")
        check_vote(self.vote)
        one_of("weight", self.weight, *WAYS)
        if self.merge is not None and not callable(self.merge):
            one_of("merge", self.merge, "text", "answer")
        wanted = [name for name in getattr(self.policy, "models", ()) if name]
        if missing := [name for name in wanted if name not in self.engines]:
            known = ", ".join(self.engines) or "none"
            raise SettingsError(
                f"policy={self.policy!r}: asks for the engines {', '.join(missing)}; engines= has "
                f"{known}: pass engines={{{missing[0]!r}: ...}}"
            )
        writers = (self.engine, *self.engines.values())
        if self.speculation is _USUAL:
            object.__setattr__(self, "speculation", Speculation.usual(*writers))
        if not all(writer.features.pure for writer in writers):
            object.__setattr__(self, "speculation", None)
        readers = [f"reward {self.reward.name!r}"] if self.reward.needs_logprobs else []
        if getattr(self.policy, "needs_logprobs", False):
            readers.append(f"policy {self.policy!r}")
        for reader in readers:
            for writer in writers:
                if not writer.features.logprobs:
                    raise SettingsError(
                        f"{reader} needs log-probabilities, which {writer.name} does not give: "
                        f"choose another {reader.partition(' ')[0]} or engine"
                    )
            object.__setattr__(self, "sampling", replace(self.sampling, logprobs=True))

    def writer(self, action: Action) -> Engine:
        """Who writes a thought that is asked for so.

        Raises:
            PolicyError: The action names an engine that there is not.
        """
        if not action.engine:
            return self.engine
        if (engine := self.engines.get(action.engine)) is None:
            raise PolicyError(
                f"action {action.name!r} asks for the engine {action.engine!r}; engines= has "
                f"{', '.join(self.engines) or 'none'}"
            )
        return engine
