"""Thoughts that are asked for at the same moment with the same prompt: one request, paid once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import anyio
import anyio.lowlevel

from spex_agents.engines.base import Request
from spex_agents.engines.openai.choices import Choices
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.prompts import Written
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.stream import check_end
from spex_agents.errors import EngineError

Answered: TypeAlias = tuple[Reply, Written]


class Group:
    """Calls that may go as one.

    Attributes:
        calls: In the order in which they came; the first one's caller sends them.
        gone: Those whose callers do not wait any more.
        error: Why none was answered, if that is so.
    """

    def __init__(self, forget: Callable[[], object]) -> None:
        self.calls: list[Call] = []
        self.gone: set[int] = set()
        self.error: EngineError | None = None
        self._found: dict[int, Answered | EngineError] = {}
        self._ready: list[anyio.Event] = []
        self._forget: Callable[[], object] | None = forget

    def close(self) -> Sequence[Call]:
        """Take no more calls; those that there are."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        return self.calls

    def join(self, call: Call) -> int:
        self.calls.append(call)
        self._ready.append(anyio.Event())
        return len(self.calls) - 1

    def answer(self, number: int, found: Answered | EngineError) -> None:
        self._found[number] = found
        if number:
            self.gone.add(number)  # its caller goes on
        self._ready[number].set()

    @property
    def answered(self) -> bool:
        """Whether somebody has been answered."""
        return bool(self._found)

    def choices(self, own: Request, written: Written, *, reasons: bool) -> Choices:
        """What to read one stream's replies into; each is handed over when it is whole.

        Args:
            own: The request of them all.
            written: The prompt as it is sent.
            reasons: The model is expected to reason first; one that does so without is asked anew.
        """

        def hand_over(number: int) -> None:
            reply, call = choices.replies[number], self.calls[number]
            if not reasons and (reply.split.reasoning or reply.reasoning_tokens):
                return
            try:
                if reply.finish:
                    check_end(reply, call.request)
            except BrokenReply:
                return
            except EngineError as error:
                self.answer(number, error)
            else:
                call.request.started = own.started
                self.answer(number, (reply, written))

        choices = Choices([call.request for call in self.calls], self.gone, hand_over)
        return choices

    def end(self) -> None:
        """Let go of all who still wait."""
        for ready in self._ready:
            ready.set()

    async def found(self, number: int) -> Answered | None:
        """What was answered; None if it was not.

        Raises:
            EngineError: That was answered.
        """
        try:
            if not self._ready[number].is_set():  # the first one goes first alone, too
                await self._ready[number].wait()
        except BaseException:
            self.gone.add(number)
            raise
        found = self._found.get(number, self.error)
        if isinstance(found, EngineError):
            raise type(found)(str(found)) from found
        return found


class Siblings:
    """Sends calls together that come in one turn of the event loop, for the same prompt.

    The first one's caller owns the request. If it is cancelled, the others ask alone; so do those
    whose reply is missing.

    Args:
        alone: Asks for one.
        together: Asks for the calls of a group, unless that is not worth it.
    """

    def __init__(
        self,
        alone: Callable[[Call], Awaitable[Answered]],
        together: Callable[[Group], Awaitable[None]],
    ) -> None:
        self._alone = alone
        self._together = together
        self._open: dict[object, Group] = {}

    async def ask(self, call: Call) -> Answered:
        key = (asyncio.get_running_loop(), call.prompt, call.sampling, call.max_tokens)
        if (group := self._open.get(key)) is None:
            group = Group(partial(self._open.pop, key))
            self._open[key] = group
            number = group.join(call)
            await self._lead(group)
        else:
            number = group.join(call)
        return await group.found(number) or await self._alone(call)

    async def _lead(self, group: Group) -> None:
        try:
            await anyio.lowlevel.checkpoint()  # the others of this turn join
            await self._together(group)
        except EngineError as error:
            group.error = error
        finally:
            group.close()
            group.end()
