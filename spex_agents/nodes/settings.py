"""What a search node, graph or tool may be given besides its engine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract
from spex_agents.answers.termination import TerminationRule
from spex_agents.answers.votes import Vote
from spex_agents.engines.base import Sampling
from spex_agents.engines.given import EngineLike, as_engine
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import instance_of
from spex_agents.rewards import Reward, RewardFunction, as_reward
from spex_agents.rewards.combining.aggregate import By
from spex_agents.search.limits import Limits
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.policy import Policy
from spex_agents.speculation.config import Failures, Merge, SearchConfig, Speculation

_LINES: Final = "Reason step by step where that helps, one short step a line."
_PARAGRAPHS: Final = "Reason step by step where that helps, in short paragraphs."

TEXT: Final[dict[str, Any]] = {
    "template": PromptTemplate(
        system=(
            f"{_LINES} If there is a definite answer, end with a line that gives it in \\boxed{{}}."
        )
    )
}
"""How models that continue a text are asked, where nothing else is said: a step is a line."""

CHAT: Final[dict[str, Any]] = {
    "template": PromptTemplate(
        system=(
            f"{_PARAGRAPHS} "
            'If there is a definite answer, end with a line that begins with "Answer:".'
        ),
        delimiter="\n\n",
    ),
    "sampling": Sampling(stop=("\n\n",)),
    "limits": Limits(step_tokens=4096, path_tokens=16384, depth=12),
    "policy": Rebase(width=4),
}
"""How chat models are asked: a step is a paragraph, and there is room for a model that reasons.
Their calls are paid one by one, so the search is a narrow one."""


class SearchSettings(TypedDict, total=False):
    """Keywords of a search; what is left out is as in `SearchConfig`, but for what is told here.

    Attributes:
        policy: What to expand: a policy or the name of one (``"rebase"``); by default
            `Rebase(width=4)` for a chat model, and `Rebase()`, of width 16, for other engines.
        engines: Others who write, by the names that the policy's actions ask for.
        reward: How good a thought is: a `Reward`, or an async function of the question and the
            texts of the steps that returns a number in [0, 1]; None for the engine's own
            log-probabilities, or a chat model's own opinion (`Judge`). A function runs ahead only
            if it is declared free of side effects, as ``Verifier(function, pure=True)``.
        limits: Caps on thoughts and paths; wider ones for chat models by default.
        sampling: How tokens are drawn; a step of a chat model is a paragraph by default.
        template: How the question becomes a conversation; by default it asks for steps where they
            help, and for a marked answer if there is a definite one.
        extract: Finds an answer in a path's text.
        canonical: Brings it to the form in which answers are counted, called in a thread; by
            default those are counted together that are `spex_agents.answers.equivalent`.
        vote: How the answers of the leaves are counted.
        free_text: Whether the text of the elected leaf is the answer where no leaf has one that
            `extract` finds; so by default.
        answer_schema: The answer's form: a Pydantic model, a dataclass, a TypedDict or a JSON
            schema. The model is told to end with such an object; those that fit are voted on field
            by field, and the answer is a dictionary. It takes the place of `extract`, `canonical`,
            `free_text` and the default template's marked answer, and no rule ends the search early
            unless `termination` is.
        weight: What the rewards of a path's steps make of its vote: "last", "min", "prod", "mean".
        merge: Which candidates of one decision are one, before they are scored: those of the same
            "text", of the same "answer", or by a function of your own; None for no merging.
        termination: When to end before the policy does; None for never.
        failures: How many paths may fail; None for none: the first failure ends the search.
        speculation: How far to run ahead; None for not at all. The result is the same. By default
            `Speculation.paid()` for chat models and hosted services, else `Speculation()`.

    Example:
        >>> settings: SearchSettings = {"policy": "rebase", "vote": "best"}
        >>> from spex_agents import create_tot_graph
        >>> from spex_agents.engines import SimulatedEngine
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), **settings).compile()
    """

    policy: Policy | str
    engines: Mapping[str, EngineLike]
    reward: Reward | RewardFunction | None
    limits: Limits
    sampling: Sampling
    template: PromptTemplate
    extract: Extract
    canonical: Canonical
    vote: Vote
    free_text: bool
    answer_schema: Any
    weight: By
    merge: Merge | None
    termination: TerminationRule | None
    failures: Failures | None
    speculation: Speculation | None


def check_keywords(function: Callable[..., object], given: Mapping[str, Any]) -> None:
    """Check the keywords of a search that `function` was called with.

    Raises:
        TypeError: There is no such keyword, as Python says it; with the nearest, or all there are.
    """
    if unknown := given.keys() - SearchSettings.__annotations__:
        own = [name for name in inspect.signature(function).parameters if name != "search"]
        known = [*own, *SearchSettings.__annotations__]
        raise _unexpected(function, min(unknown), known)


def check_own_keywords(function: Callable[..., object], others: Mapping[str, Any]) -> None:
    """Check that `function`, which takes none but its own keywords, was called with no `others`.

    Raises:
        TypeError: There is one; with the nearest of its own, or all.
    """
    if others:
        own = [name for name in inspect.signature(function).parameters if name != "others"]
        raise _unexpected(function, min(others), own)


def _unexpected(function: Callable[..., object], wrong: str, known: Sequence[str]) -> TypeError:
    near = get_close_matches(wrong, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
    return TypeError(f"{function.__name__}() got an unexpected keyword argument {wrong!r}: {hint}")


def search_config(engine: EngineLike, settings: SearchSettings) -> SearchConfig:
    """The search that `settings` describe, but for `answer_schema`.

    Raises:
        SettingsError: The parts do not fit together.
    """
    writer = as_engine(engine)
    usual, steps = (CHAT, _PARAGRAPHS) if writer.features.messages else (TEXT, _LINES)
    given: dict[str, Any] = {"policy": Rebase(), "free_text": True, **usual, **settings}
    if given.pop("answer_schema", None) is not None and "template" not in settings:
        given["template"] = replace(given["template"], system=steps)  # one ending, that of its own
    instance_of(Mapping, engines=(others := settings.get("engines", {})))
    given["engines"] = {name: as_engine(other) for name, other in others.items()}
    given["reward"] = as_reward(settings.get("reward"), writer)
    return SearchConfig(engine=writer, **given)
