"""Which model a server has, and what kind of server it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import openai

from spex_agents.engines.base import Exactness
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.dialects import Dialect, dialect_at, dialect_of
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.errors import EngineUnavailable

SHOWN = 8
"""Models that an error lists, of the hundreds that hosts have."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a server is asked for, and how.

    Attributes:
        model: As it is named there.
        dialect: What it speaks.
        exactness: What a seed is worth there.
    """

    model: str
    dialect: Dialect
    exactness: Exactness


async def find_served(client: Client, model: str | None, dialect: Dialect | None) -> Served:
    """The model to name and the dialect to speak; asks the server for what is not given.

    Raises:
        EngineError: The server cannot be reached, or refuses; or no model is given, and there is
            not exactly one.
    """
    dialect = dialect or dialect_at(client.url)
    if model and dialect:
        return Served(model, dialect, await _exactness(client, dialect))

    async def owners(_: int) -> dict[str, object]:
        try:
            return read_models(await client.get("/models"))
        except openai.APIStatusError as error:
            if model and error.status_code in (403, 404, 405):  # it keeps no list
                return {}
            raise

    served = await client.run(owners)
    if model is None:
        if len(served) != 1:
            listed = ", ".join([*list(served)[:SHOWN], "..."][: len(served)]) or "none"
            raise EngineUnavailable(
                f"{client.shown} serves {len(served)} models ({listed}): pass one as model="
            )
        (model,) = served
    owner = served.get(model) or next(iter(served.values()), None)
    spoken = dialect or dialect_of(owner, client.url, model)
    return Served(model, spoken, await _exactness(client, spoken))


def read_models(found: object) -> dict[str, object]:
    """Who owns each model of a list, which may be bare.

    Raises:
        BrokenReply: It is none.

    Example:
        >>> read_models({"object": "list", "data": [{"id": "tiny", "owned_by": "vllm"}]})
        {'tiny': 'vllm'}
    """
    try:
        listed = found if isinstance(found, list) else found["data"] or ()  # type: ignore[index]
        return {str(one["id"]): one.get("owned_by") for one in listed}
    except (AttributeError, KeyError, TypeError) as error:
        raise BrokenReply("its /models is no list of models") from error


async def _exactness(client: Client, dialect: Dialect) -> Exactness:
    """What a seed is worth: exact where the server says that no batch changes a result."""
    if dialect.name not in ("vllm", "sglang"):
        return dialect.exactness
    found: object = None
    with suppress(openai.OpenAIError):  # most servers do not tell
        root = client.shown.rstrip("/").removesuffix("/v1")
        found = await client.get(f"{root}/server_info?config_format=json")
    return "exact" if _invariant(found) else dialect.exactness


def _invariant(info: object) -> bool:
    """Whether what ``/server_info`` answers says that results do not depend on the batch."""
    if not isinstance(info, Mapping):
        return False
    environment = info.get("vllm_env")
    if isinstance(environment, Mapping):
        return bool(environment.get("VLLM_BATCH_INVARIANT"))
    deterministic = bool(info.get("enable_deterministic_inference"))
    return deterministic and not info.get("speculative_algorithm")
