"""Whatever may stand where an engine is expected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import SecretStr, ValidationError

from spex_agents.engines.base import Engine
from spex_agents.engines.functions import ProposeFunction, Proposer
from spex_agents.errors import SettingsError

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

_HOST = re.compile(r"[\w.-]+:\d+(/|$)")

EngineLike: TypeAlias = "Engine | Runnable[Any, Any] | ProposeFunction | str"
"""An engine, a LangChain chat model, its name (``"provider:model"``), a server's address, or an
async function."""


def is_address(name: str) -> bool:
    """Whether an engine of that name is a server."""
    return name.startswith(("http://", "https://"))


def as_engine(engine: EngineLike) -> Engine:
    """Return the engine that `engine` stands for.

    Args:
        engine: An engine; a LangChain chat model, plain or with tools, structured output, retries
            or fallbacks bound to it; its name, ``"provider:model"``, as LangChain's
            `init_chat_model` takes it; the address of a server that speaks OpenAI's protocol; or an
            async function ``(question, steps, seed) -> str | Thought``, taken to have side effects
            (else wrap it: ``Proposer(function, pure=True)``).

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
        if is_address(engine):
            from spex_agents.engines.sglang.engine import engine_at  # noqa: PLC0415 (as below)

            return engine_at(engine)
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
        '("provider:model"), the address of a server (http://127.0.0.1:8000/v1), or an async '
        "function (question, steps, seed) -> str | Thought"
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
        model = init_chat_model(name)
    except Exception as error:
        told = str(error)
        if isinstance(error, ValidationError):
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
        first = next(iter(told.splitlines()), type(error).__name__)  # then: all providers
        said = first.partition(" Please specify 'model_provider'")[0].replace(
            f"model={name!r}", "it"
        )
        form = " (a chat model is named provider:model, such as openai:gpt-5-mini)"
        unknown = "model provider" in said or "model_provider" in said
        raise SettingsError(f"engine={name!r}: {said}{form * unknown}") from error
    if missing := _missing_keys(model):
        keys = " or ".join(missing)
        raise SettingsError(f"engine={name!r}: has no key: set {keys} in the environment")
    return model


def _missing_keys(model: Any) -> list[str]:
    """The environment variables one of which should have held the key of `model`, if none did.

    Some providers' models are made without one, and fail at their first call. One that can be
    signed in for otherwise has looked for itself.
    """
    keys = {key: name for key, name in model.lc_secrets.items() if key.endswith("api_key")}
    otherwise = any("credential" in field for field in type(model).model_fields)
    if otherwise or any(_secret(getattr(model, key, None)) for key in keys):
        return []
    return [*keys.values()]


def _secret(key: Any) -> Any:
    return key.get_secret_value() if isinstance(key, SecretStr) else key
