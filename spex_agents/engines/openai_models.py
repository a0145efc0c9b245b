"""Which model a server has, and what kind of server it is."""

from __future__ import annotations

from typing import Any

import openai

from spex_agents.engines.dialects import OPENAI, Dialect, dialect_of
from spex_agents.engines.openai_calls import BrokenReply, is_transient
from spex_agents.engines.retry import Retries
from spex_agents.errors import EngineError


async def find_served(
    client: openai.AsyncOpenAI, model: str | None, dialect: Dialect | None, retries: Retries
) -> tuple[str, Dialect]:
    """The model to name and the dialect to speak; asks the server for what is not given.

    Raises:
        EngineError: No model is given, and there is not exactly one.
        openai.OpenAIError: The server cannot be reached, or refuses.
        BrokenReply: It answers with something else.
    """
    if model and dialect:
        return model, dialect

    async def owners(_: int) -> dict[str, object]:
        try:
            page: Any = await client.models.list()
            return {served.id: served.owned_by for served in page.data or ()}
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenReply("its /models is no list of models") from error

    try:
        served = await retries.run(owners, transient=is_transient)
    except openai.APIStatusError as error:
        if model and error.status_code in (403, 404, 405):  # it keeps no list
            return model, OPENAI
        raise
    if model is None:
        if len(served) != 1:
            listed = ", ".join(served) or "none"
            raise EngineError(
                f"{client.base_url} serves {len(served)} models ({listed}): pass one as model="
            )
        (model,) = served
    owner = served.get(model) or next(iter(served.values()), None)
    return model, dialect or dialect_of(owner)
