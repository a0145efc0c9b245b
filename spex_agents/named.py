"""What words stand for, on the command line and in settings: engines and rewards by name."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, cast

from spex_agents import rewards
from spex_agents.engines.base import Engine, Sampling
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.given import as_engine, chat_model, is_address
from spex_agents.engines.reasoning import Thinking
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import HARDWARE
from spex_agents.errors import SettingsError
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search import Limits, Policy
from spex_agents.speculation.config import SearchConfig, Speculation

T = TypeVar("T")

if TYPE_CHECKING:
    from spex_agents.engines.chat_model import ChatModelEngine
    from spex_agents.engines.functions import Proposer
    from spex_agents.engines.openai.engine import OpenAIEngine
    from spex_agents.engines.openai.settings import ServerSettings

    AnyEngine: TypeAlias = (
        ChatModelEngine | EmbeddedEngine | OpenAIEngine | Proposer | SimulatedEngine
    )


TAKEN: Mapping[str, tuple[str, ...]] = MappingProxyType({"embedded": ("thinking",)})
"""What engines by name take of a server's settings."""


def _simulated_engine(model: str | None, draft_tokens: int, thinking: Thinking) -> Engine:
    if (hardware := HARDWARE.get(model or "paper-7b")) is None:
        raise SettingsError(
            f"model={model!r}: the simulated engine has one of {', '.join(HARDWARE)}"
        )
    return SimulatedEngine(hardware=hardware)


ENGINES: Mapping[str, Callable[[str | None, int, Thinking], Engine]] = MappingProxyType(
    {
        "embedded": lambda model, drafts, thinking: EmbeddedEngine(
            model, draft_tokens=drafts, thinking=thinking
        ),
        "simulated": _simulated_engine,
    }
)
"""Engines by name; further ones are at an address, a chat model, or one's own."""

_INSTEAD = (
    "leave it out, set it at a chat model itself, or take the address of a server (http://...)"
)

Maker: TypeAlias = Callable[[Engine, Sampling, Limits], rewards.Reward]


def _simulated(engine: Engine, sampling: Sampling, limits: Limits) -> rewards.Reward:
    if not engine.name.startswith("simulated/"):
        raise SettingsError(
            f"reward='simulated': scores thoughts of the simulated engine only, not of "
            f"{engine.name}; take --engine simulated, or another reward"
        )
    return rewards.SimulatedReward()


class NamedReward(NamedTuple):
    """How a reward is made, and what it goes by, as ``--help`` tells it; empty if its name does."""

    make: Maker
    by: str = ""


REWARDS: Mapping[str, NamedReward] = MappingProxyType(
    {
        "confidence": NamedReward(
            lambda engine, sampling, limits: rewards.Confidence(),
            "the model's own log-probabilities; default",
        ),
        "judge": NamedReward(lambda engine, sampling, limits: rewards.Judge(engine)),
        "value": NamedReward(
            lambda engine, sampling, limits: rewards.Value(engine), "sure, likely or impossible?"
        ),
        "expected-value": NamedReward(
            lambda engine, sampling, limits: rewards.Value(engine, expected=True),
            "by the words' probabilities",
        ),
        "group-vote": NamedReward(
            lambda engine, sampling, limits: rewards.GroupVote(engine),
            "which of the layer is best?",
        ),
        "votes": NamedReward(
            lambda engine, sampling, limits: rewards.VoteConfidence(
                engine, sampling=sampling, max_tokens=limits.path_tokens, samples=4
            ),
            "do completions agree?",
        ),
        "calculator": NamedReward(
            lambda engine, sampling, limits: rewards.Calculator(),
            "do the stated equations hold?",
        ),
        "simulated": NamedReward(_simulated, "default of the simulated engine"),
    }
)
"""Rewards by name; ``module:function`` is one's own."""


def make_engine(
    name: str,
    model: str | None = None,
    api_key: str | None = None,
    *,
    draft_tokens: int = 0,
    server: ServerSettings | None = None,
) -> AnyEngine:
    """Return the engine that `name` stands for; it is not opened yet.

    Args:
        name: "embedded", "simulated", the address of a server, ``provider:model`` for a LangChain
            chat model, or ``module:attribute`` for an engine or an async function of yours.
        model: As `spex solve --model`: a GGUF file, a hardware preset, or a server's model.
        api_key: Bearer token for a server.
        draft_tokens: Of the embedded engine.
        server: How a server is spoken to; what it says of reasoning holds for the embedded one too.

    Raises:
        SettingsError: There is no such engine or model, or it does not take what is set.

    Example:
        >>> make_engine("simulated", "h100-8b").name
        'simulated/h100-8b'
    """
    if is_address(name):
        from spex_agents.engines.sglang.engine import engine_at  # noqa: PLC0415 (half a second)

        return engine_at(name, model=model, api_key=api_key, settings=server)
    if server is not None:
        server.check_taken(TAKEN.get(name, ()), engine=name, instead=_INSTEAD)
    if (make := ENGINES.get(name)) is not None:
        thinking = server.thinking if server is not None else "auto"
        return cast("AnyEngine", make(model, draft_tokens, thinking))
    if ":" in name:
        if model is not None:
            raise SettingsError(f"model={model!r}: engine {name!r} has a model of its own")
        return cast("AnyEngine", as_engine(_function_or_chat_model(name)))
    raise SettingsError(
        f"engine={name!r}: must be {', '.join(ENGINES)}, the address of an OpenAI-compatible "
        "server with its version (http://127.0.0.1:30000/v1), provider:model for a LangChain chat "
        "model (openai:gpt-5-mini), or module:function for an async function "
        "(question, steps, seed) -> str, an engine or a chat model of your own"
    )


def make_engines(words: Iterable[str], engine: str) -> dict[str, AnyEngine]:
    """The engines that ``NAME=ENGINE`` or ``NAME=ENGINE=MODEL`` stand for, by their names.

    Args:
        words: One for each.
        engine: The search's own, which they join.

    Raises:
        SettingsError: A name is missing or given twice, as of `make_engine`, or some are simulated
            and others are not.
    """
    made: dict[str, AnyEngine] = {}
    for word in words:
        name, _, rest = word.partition("=")
        other, _, model = rest.partition("=")
        if not name or not other or name in made:
            raise SettingsError(
                f"also={word!r}: must be NAME=ENGINE or NAME=ENGINE=MODEL, each name once"
            )
        if (other == "simulated") != (engine == "simulated"):
            raise SettingsError(
                f"also={word!r}: the simulated engine has a clock of its own; let all engines of a "
                "search be simulated, or none"
            )
        made[name] = make_engine(other, model or None)
    return made


def _function_or_chat_model(name: str) -> Any:
    """What ``module:attribute`` names, if there is such a thing, else that chat model."""
    try:
        return load_named("engine", name)
    except SettingsError as error:
        try:
            return chat_model(name)
        except SettingsError as other:
            if not name.partition(":")[2].isidentifier():  # gpt-5-mini: no attribute is called so
                raise
            why = str(other).removeprefix(f"engine={name!r}: ")
            raise SettingsError(f"{error}; nor is it a chat model: {why}") from other


def run_with(engine: AnyEngine, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end on the clock of its engine: virtual for the simulated one."""
    return run_virtual(work) if isinstance(engine, SimulatedEngine) else asyncio.run(work)


def make_reward(
    name: str | None,
    engine: AnyEngine,
    *,
    sampling: Sampling,
    limits: Limits,
    aggregate: str = "last",
) -> rewards.Reward:
    """The reward of that name, or one's own; None for the engine's usual one.

    Args:
        name: One of `REWARDS`, or ``module:function``.
        engine: The search's engine, which also judges where a reward asks a model.
        sampling: The search's own.
        limits: The search's own.
        aggregate: How the scores of a path's steps become its score.

    Raises:
        SettingsError: There is no such reward or aggregate, or it does not go with the engine.
    """
    by = next((by for by in WAYS if by == aggregate), None)
    if by is None:
        raise SettingsError(f"aggregate={aggregate!r}: must be one of {', '.join(WAYS)}")
    reward = _named(name, engine, sampling=sampling, limits=limits)
    return reward if by == "last" else rewards.Aggregate(reward, by)


def measured_config(
    engine: AnyEngine,
    policy: Policy,
    reward: str | None,
    limits: Limits,
    speculation: Speculation,
    *,
    aggregate: str = "last",
) -> SearchConfig:
    """What a search is made of that is measured or recorded: nothing cuts it short but a failure.

    Raises:
        SettingsError: As of `make_reward`.
    """
    return SearchConfig(
        engine=engine,
        policy=policy,
        reward=make_reward(reward, engine, sampling=Sampling(), limits=limits, aggregate=aggregate),
        limits=limits,
        termination=None,
        failures=None,
        speculation=speculation,
    )


def _named(
    name: str | None, engine: AnyEngine, *, sampling: Sampling, limits: Limits
) -> rewards.Reward:
    if name is None and not engine.name.startswith("simulated/"):
        return rewards.as_reward(None, engine)
    name = name or "simulated"
    if (known := REWARDS.get(name)) is not None:
        return known.make(engine, sampling, limits)
    if ":" in name:
        return rewards.as_reward(load_named("reward", name), engine)
    raise SettingsError(
        f"reward={name!r}: must be one of {', '.join(REWARDS)}, or module:function for an async "
        "function (question, steps) -> float of your own"
    )


def load_named(option: str, name: str) -> Any:
    """What ``module:attribute`` names; modules of the working directory are found too.

    Raises:
        SettingsError: There is no such thing; it names the option.
    """
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{option}={name!r}: cannot import {module!r}: {error}") from error
    finally:
        sys.path.pop(0)
    if not hasattr(found, attribute):
        raise SettingsError(f"{option}={name!r}: {found.__file__} has no {attribute!r}")
    return getattr(found, attribute)
