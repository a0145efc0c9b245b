"""What the command line's words stand for: policies, engines and rewards by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from spex_agents import rewards
from spex_agents.engines.base import Sampling
from spex_agents.engines.embedded import EmbeddedEngine
from spex_agents.engines.hardware import HARDWARE
from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.search import (
    Beam,
    BestOfN,
    Dvts,
    Limits,
    Policy,
    Rap,
    Rebase,
    Rstar,
    TotBfs,
    TotDfs,
)

if TYPE_CHECKING:
    from spex_agents.engines.openai import OpenAIEngine

    AnyEngine: TypeAlias = EmbeddedEngine | OpenAIEngine | SimulatedEngine


def _layer(width: int | None) -> dict[str, Any]:
    """The sizes of a layer of `width` thoughts, in which each kept one gets 4 (3, 2) children."""
    if width is None:
        return {}
    share = next((share for share in (4, 3, 2) if width % share == 0), max(1, width))
    return {"beams": width, "width": share}


POLICIES: Mapping[str, Callable[..., Policy]] = MappingProxyType(
    {
        "rebase": lambda width=None: Rebase(**_given(width=width)),
        "beam": lambda width=None: Beam(**_layer(width)),
        "dvts": lambda width=None: Dvts(**_layer(width)),
        "tot-bfs": lambda width=None: TotBfs(**_given(width=width)),
        "tot-dfs": lambda width=None: TotDfs(**_given(width=width)),
        "best-of-n": lambda width=None: BestOfN(**_given(width=width)),
        "rstar": lambda width=None, rollouts=None: Rstar(**_given(width=width, rollouts=rollouts)),
        "rap": lambda width=None, rollouts=None: Rap(**_given(width=width, rollouts=rollouts)),
    }
)
"""Policies by name; each takes `width`, and `rollouts` where it walks some."""

REWARDS = ("confidence", "judge", "votes", "calculator", "simulated")
"""Rewards by name; ``module:function`` is one's own."""


def make_policy(name: str, **settings: int | None) -> Policy:
    """The policy of that name; a setting of None is the policy's own default.

    Raises:
        SettingsError: There is no such policy, it lacks a setting, or a value is out of range.

    Example:
        >>> make_policy("rebase", width=8, rollouts=None)
        Rebase(width=8, temperature=0.2)
    """
    if (make := POLICIES.get(name)) is None:
        raise SettingsError(f"policy={name!r}: must be one of {', '.join(POLICIES)}")
    given = _given(**settings)
    for setting in given.keys() - inspect.signature(make).parameters:
        owners = [
            name for name, make in POLICIES.items() if setting in inspect.signature(make).parameters
        ]
        raise SettingsError(
            f"{setting}={given[setting]!r}: {name} has no {setting}; leave it out, "
            f"or take a policy that has: {', '.join(owners)}"
        )
    return make(**given)


def make_engine(name: str, model: str | None, api_key: str | None) -> AnyEngine:
    """The engine of that name, or of the server at that address; it is not opened yet.

    Raises:
        SettingsError: There is no such engine or model.
    """
    if name == "embedded":
        return EmbeddedEngine(model)
    if name == "simulated":
        if (hardware := HARDWARE.get(model or "paper-7b")) is None:
            raise SettingsError(
                f"model={model!r}: the simulated engine has one of {', '.join(HARDWARE)}"
            )
        return SimulatedEngine(hardware=hardware)
    if name.startswith(("http://", "https://")):
        from spex_agents.engines.sglang import engine_at  # noqa: PLC0415 (half a second)

        return engine_at(name, model=model, api_key=api_key)
    raise SettingsError(
        f"engine={name!r}: must be embedded, simulated, or the address of an OpenAI-compatible "
        "server with its version: http://127.0.0.1:30000/v1"
    )


def make_reward(
    name: str | None, engine: AnyEngine, *, sampling: Sampling, limits: Limits
) -> rewards.Reward:
    """The reward of that name, or one's own; None for the engine's usual one.

    Raises:
        SettingsError: There is no such reward, or it does not go with the engine.
    """
    simulated = engine.name.startswith("simulated/")
    match name or ("simulated" if simulated else "confidence"):
        case "confidence":
            return rewards.Confidence()
        case "judge":
            return rewards.Judge(engine)
        case "votes":
            return rewards.VoteConfidence(
                engine, sampling=sampling, max_tokens=limits.path_tokens, samples=4
            )
        case "calculator":
            return rewards.Calculator()
        case "simulated" if simulated:
            return rewards.SimulatedReward()
        case "simulated":
            raise SettingsError(
                f"reward='simulated': scores thoughts of the simulated engine only, not of "
                f"{engine.name}; take --engine simulated, or another reward"
            )
        case own if ":" in own:
            return rewards.as_reward(_load(own), engine)
        case other:
            raise SettingsError(
                f"reward={other!r}: must be one of {', '.join(REWARDS)}, or module:function for an "
                "async function (question, steps) -> float of your own"
            )


def _load(name: str) -> Any:
    """What ``module:attribute`` names; modules of the working directory are found too."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"reward={name!r}: cannot import {module!r}: {error}") from error
    finally:
        sys.path.pop(0)
    if not hasattr(found, attribute):
        raise SettingsError(f"reward={name!r}: {found.__file__} has no {attribute!r}")
    return getattr(found, attribute)


def _given(**settings: int | None) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
