"""Which model a server has, and what kind of server it is."""

from __future__ import annotations

from typing import Any

import openai

from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.dialects import Dialect, dialect_of
from spex_agents.engines.openai.stream import BrokenReply
from spex_agents.errors import EngineError


async def find_served(
    client: Client, model: str | None, dialect: Dialect | None
) -> tuple[str, Dialect]:
    """The model to name and the dialect to speak; asks the server for what is not given.

    Raises:
        EngineError: The server cannot be reached, or refuses; or no model is given, and there is
            not exactly one.
    """
    if model and dialect:
        return model, dialect

    async def owners(_: int) -> dict[str, object]:
        try:
            page: Any = await client.http.models.list()
            return {served.id: served.owned_by for served in page.data or ()}
        except openai.APIStatusError as error:
            if model and error.status_code in (403, 404, 405):  # it keeps no list
                return {}
            raise
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenReply("its /models is no list of models") from error

    served = await client.run(owners)
    if model is None:
        if len(served) != 1:
            listed = ", ".join(served) or "none"
            raise EngineError(
                f"{client.url} serves {len(served)} models ({listed}): pass one as model="
            )
        (model,) = served
    owner = served.get(model) or next(iter(served.values()), None)
    return model, dialect or dialect_of(owner)
