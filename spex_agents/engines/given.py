"""Whatever may stand where an engine is expected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from spex_agents.engines.base import Engine
from spex_agents.engines.functions import ProposeFunction, Proposer
from spex_agents.errors import SettingsError

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

_HOST = re.compile(r"[\w.-]+:\d+(/|$)")

EngineLike: TypeAlias = "Engine | Runnable[Any, Any] | ProposeFunction | str"
"""An engine, a LangChain chat model, its name (``"provider:model"``), or an async function."""


def as_engine(engine: EngineLike) -> Engine:
    """Return the engine that `engine` stands for.

    Args:
        engine: An engine; a LangChain chat model, plain or with tools, structured output, retries
            or fallbacks bound to it; its name, ``"provider:model"``, as LangChain's
            `init_chat_model` takes it; or an async function ``(question, steps, seed) -> str |
            Thought``, taken to have side effects (else wrap it: ``Proposer(function, pure=True)``).

    Raises:
        SettingsError: It is none of these, or there is no such chat model.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> as_engine(FakeListChatModel(responses=["It is 4."])).name
        'chat-model/FakeListChatModel'
    """
    if isinstance(engine, type):
        raise SettingsError(f"engine={engine.__name__}: is a class, pass an instance of it")
    if isinstance(engine, str):
        return as_engine(chat_model(engine))
    if hasattr(engine, "astream"):  # a chat model has a `generate` too, of another kind
        from spex_agents.engines.chat_model import ChatModelEngine  # noqa: PLC0415 (half a second)

        return ChatModelEngine(cast("Runnable[Any, Any]", engine))
    if hasattr(engine, "generate"):
        return cast(Engine, engine)
    if callable(engine):
        return Proposer(engine)
    raise SettingsError(
        f"engine={engine!r}: must be an engine, a LangChain chat model or its name "
        '("provider:model"), or an async function (question, steps, seed) -> str | Thought'
    )


def chat_model(name: str) -> Any:
    """The LangChain chat model of that name, ``provider:model``.

    Raises:
        SettingsError: LangChain, or the provider's package, is not installed, or knows no such
            model, or lacks what it needs, such as a key.
    """
    if _HOST.match(name):
        raise SettingsError(f"engine={name!r}: a server's address begins with http:// or https://")
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise SettingsError(
            f"engine={name!r}: the name of a chat model needs LangChain: pip install "
            "'spex-agents[agents]', and the provider's package"
        ) from error
    try:
        return init_chat_model(name)
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)  # then: all providers
        said = first.partition(" Please specify 'model_provider'")[0].replace(
            f"model={name!r}", "it"
        )
        form = " (a chat model is named provider:model, such as openai:gpt-5-mini)"
        unknown = "provider" in said
        raise SettingsError(f"engine={name!r}: {said}{form * unknown}") from error
