"""Two ways to ask the agent: in this process, or behind a gateway."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import httpx
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes import apart

Event: TypeAlias = Mapping[str, Any]
Show: TypeAlias = Callable[[Event], None]
Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

_PASSED = re.compile(r"^(\d+) of (\d+) tests passed\.$", re.MULTILINE)
_FAILURE = "is the gateway up? spex gateway --agent coder=examples.coding_assistant:agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A turn's answer, and what it has cost."""

    text: str
    ledger: Mapping[str, float]
    tree_sha256: str

    @property
    def passed(self) -> bool:
        """Whether all tests pass."""
        found = _PASSED.search(self.text)
        return found is not None and found[1] == found[2]


class Assistant(Protocol):
    """Answers one turn of a conversation after the other."""

    async def ask(self, text: str, show: Show) -> Answer:
        """Answer, and show each event on the way; cancelled, it ends the work where it is done."""
        ...


@dataclass(slots=True)
class Here:
    """The graph in this process; its checkpointer has the conversation."""

    graph: Graph
    thread: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(cls, graph: Any) -> Here:
        return cls(graph.compile(checkpointer=InMemorySaver()))

    async def ask(self, text: str, show: Show) -> Answer:
        config: Any = {"configurable": {"thread_id": self.thread}}

        async def run() -> Any:
            state: Any = {}
            asked = {"messages": [("user", text)]}
            parts: Any = self.graph.astream(asked, config, stream_mode=["custom", "values"])
            async for mode, part in parts:
                if mode == "custom":
                    show(part)
                else:
                    state = part
            return state

        state = await apart(run())
        return Answer(
            text=state["answer"], ledger=state["ledger"], tree_sha256=state["tree_sha256"]
        )


@dataclass(slots=True)
class Behind:
    """A gateway that serves the agent as a model; the conversation is sent with each turn.

    The completion is what keeps the search running: where its connection ends, so does the search,
    down to the engine. What happens in it, rewards included, is told by its events.

    Attributes:
        url: The gateway's, as it prints it: ``http://127.0.0.1:8080/v1``.
        key: Of the gateway; empty where it asks for none.
        model: The agent's name there.
        spex: The search's settings.
    """

    url: str
    key: str
    model: str
    spex: Mapping[str, Any]
    messages: list[dict[str, str]] = field(default_factory=list)

    async def ask(self, text: str, show: Show) -> Answer:
        messages = [*self.messages, {"role": "user", "content": text}]
        body = {
            "model": self.model,
            "messages": messages,
            "stream": True,
            "spex": dict(self.spex),
        }
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            async with httpx.AsyncClient(
                base_url=self.url, headers=headers, timeout=httpx.Timeout(10, read=60)
            ) as http:
                ended = await self._attend(http, body, show)
        except httpx.HTTPError as error:
            raise EngineError(
                f"gateway={self.url!r}: {str(error) or type(error).__name__}; {_FAILURE}"
            ) from error
        if (fault := ended["error"]) is not None:
            raise _refused(fault)
        if ended["state"] != "done":
            raise EngineError(f"gateway={self.url!r}: the search is {ended['state']}; ask again")
        self.messages = [*messages, {"role": "assistant", "content": ended["content"]}]
        return Answer(
            text=ended["content"], ledger=ended["ledger"], tree_sha256=ended["tree_sha256"]
        )

    async def _attend(self, http: httpx.AsyncClient, body: Any, show: Show) -> Event:
        async with http.stream("POST", "chat/completions", json=body) as attended:
            await _check(attended)
            drain = asyncio.create_task(_drained(attended))
            try:
                identity = attended.headers["X-Spex-Search-Id"]
                async with http.stream("GET", f"searches/{identity}/events") as told:
                    await _check(told)
                    async for event in _events(told):
                        if event["type"] == "search" and event["state"] != "running":
                            return event
                        show(event)
                raise EngineError(f"gateway={self.url!r}: ended in the middle of the search")
            finally:
                drain.cancel()
                await asyncio.wait([drain])


async def _drained(response: httpx.Response) -> None:
    async for _ in response.aiter_raw():
        pass


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    await response.aread()
    try:
        raise _refused(response.json()["error"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, SettingsError):
            raise
        raise EngineError(
            f"gateway={str(response.url)!r}: answered {response.status_code}; {_FAILURE}"
        ) from error


def _refused(fault: Mapping[str, Any]) -> EngineError | SettingsError:
    """What a gateway's error is to its client: a fault of what was asked, or of the server."""
    kind = EngineError if fault["type"] == "server_error" else SettingsError
    return kind(fault["message"])
