"""Who writes thoughts: one protocol, and an engine for each kind of server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spex_agents._lazy import lazy

if TYPE_CHECKING:
    from spex_agents.engines.base import (
        Closing,
        Engine,
        Exactness,
        Features,
        Load,
        Request,
        Sampling,
    )
    from spex_agents.engines.chat_model import ChatModelEngine
    from spex_agents.engines.embedded import EmbeddedEngine
    from spex_agents.engines.functions import Proposer
    from spex_agents.engines.given import as_engine
    from spex_agents.engines.openai import OpenAIEngine
    from spex_agents.engines.prompts import Message, Offer, Prompt, PromptTemplate, Role
    from spex_agents.engines.sglang import SGLangEngine, engine_at
    from spex_agents.engines.simulated import SimulatedEngine, SimulatedFleet, run_virtual

__all__ = [
    "ChatModelEngine",
    "Closing",
    "EmbeddedEngine",
    "Engine",
    "Exactness",
    "Features",
    "Load",
    "Message",
    "Offer",
    "OpenAIEngine",
    "Prompt",
    "PromptTemplate",
    "Proposer",
    "Request",
    "Role",
    "SGLangEngine",
    "Sampling",
    "SimulatedEngine",
    "SimulatedFleet",
    "as_engine",
    "engine_at",
    "run_virtual",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ChatModelEngine": "chat_model",
        "Closing": "base",
        "EmbeddedEngine": "embedded",
        "Engine": "base",
        "Exactness": "base",
        "Features": "base",
        "Load": "base",
        "Message": "prompts",
        "Offer": "prompts",
        "OpenAIEngine": "openai",
        "Prompt": "prompts",
        "PromptTemplate": "prompts",
        "Proposer": "functions",
        "Request": "base",
        "Role": "prompts",
        "SGLangEngine": "sglang",
        "Sampling": "base",
        "SimulatedEngine": "simulated",
        "SimulatedFleet": "simulated",
        "as_engine": "given",
        "engine_at": "sglang",
        "run_virtual": "simulated",
    },
)
