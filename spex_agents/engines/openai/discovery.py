"""What is found out about a server besides its thoughts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from spex_agents.engines.base import Exactness, Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.dialects import Dialect
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.models import Served, find_served
from spex_agents.engines.openai.prompts import PromptWriter, Written
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.templates import Template


class Discovery:
    """Finds out what a server has and takes; everything once, over all event loops.

    Args:
        client: Of the server.
        model: None for the only model served.
        dialect: None to go by what the server answers.
        template: Writes every prompt out here, if there is one.
        refusals: What the server has refused.

    Attributes:
        served: What the server is asked for, and how; None before it was asked.
        writer: What writes its prompts; None before the first.
    """

    def __init__(
        self,
        client: Client,
        *,
        model: str | None,
        dialect: Dialect | None,
        template: Template | None,
        refusals: Refusals,
    ) -> None:
        self._client = client
        self._model = model
        self._dialect = dialect
        self._template = template
        self._refusals = refusals
        self._asking = Gate(1)  # over all event loops
        self.served: Served | None = None
        self.writer: PromptWriter | None = None

    @property
    def model(self) -> str | None:
        """The model as it is named there, or was given; None while that is not known."""
        return self.served.model if self.served else self._model

    @property
    def exactness(self) -> Exactness:
        """What a seed is worth there, as far as is known."""
        if self.served is None:
            return "seeded"
        return "unseeded" if "seed" in self._refusals else self.served.exactness

    async def find_served(self) -> Served:
        """What the server is asked for, and how.

        Raises:
            EngineError: It does not say.
        """
        async with self._asking.place(Request(id="asking", seed=0)):
            if self.served is None:
                self.served = await find_served(self._client, self._model, self._dialect)
            return self.served

    async def find_writer(
        self,
        served: Served,
        call: Call,
        *,
        extra: Mapping[str, object],
        attempt: Callable[[Call, Served, PromptWriter, int], Awaitable[tuple[Reply, Written]]],
    ) -> PromptWriter:
        """What writes the prompts; with the first partial reply it is found out how.

        Args:
            served: What the server is asked for.
            call: What is to be written.
            extra: What chat templates are given besides, as fields of the request.
            attempt: One try of asking the server, by prompts of the writer.
        """
        async with self._asking.place(Request(id="asking", seed=0)):
            if self.writer is None:
                self.writer = PromptWriter(
                    self._client, served, self._refusals, self._template, extra
                )
            writer = self.writer
            if call.prompt.reply:

                async def ask(probe: Call) -> Reply:
                    reply, _ = await self._client.run(partial(attempt, probe, served, writer))
                    return reply

                await writer.find_out(ask, call.request)
            return writer
