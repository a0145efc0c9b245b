"""One search of a client's: what is known of it, and what is told to those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, cast

from spex_agents.errors import SettingsError
from spex_agents.nodes.node import NO_ANSWER
from spex_agents.nodes.state import tree_of
from spex_agents.search.tree import Tree
from spex_agents.server.gateway.database import Record
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.requests import ChatRequest, asked_in
from spex_agents.speculation.events import LedgerEvent, ThoughtEvent, path_id
from spex_agents.speculation.ledger import Ledger

State: TypeAlias = Literal["running", "suspended", "done", "failed"]
"""Suspended: its clients have left; it goes on where it was when it is asked for again."""

ENDED = ("done", "failed")

Event: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a watcher has come: accepted thoughts, and rewards, in the order of the search.

    Both orders are the same in every run of a search, so a place holds across restarts.

    Example:
        >>> Place.parse("12.8"), str(Place(12, 8))
        (Place(thoughts=12, rewards=8), '12.8')
    """

    thoughts: int = 0
    rewards: int = 0

    def __str__(self) -> str:
        return f"{self.thoughts}.{self.rewards}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that an event's id names.

        Raises:
            SettingsError: None.
        """
        first, _, second = text.partition(".")
        if not (text.isascii() and first.isdecimal() and second.isdecimal() and len(text) < 20):
            raise SettingsError(f"Last-Event-ID={text!r}: must be the id of an event: 12.8")
        return cls(int(first), int(second))


END = "end"
"""The id of a search's last event."""


@dataclass(slots=True, eq=False, weakref_slot=True, kw_only=True)
class Search:
    """A search, as long as anybody runs or watches it; the database has it longer.

    Attributes:
        id: Of the search; also its thread's in the checkpoints.
        owner: The name of its key.
        created: Seconds since the epoch.
        request: What was asked.
        fingerprint: Of the request, to tell it from others of the same Idempotency-Key.
        background: Whether it runs on without clients.
        state: What has become of it.
        result: Once it is done: `answer`, `content`, `finish_reason`, `stopped`, `tree_sha256`.
        error: Once it has failed.
        seconds: How long it has run.
        spent: What all its runs have cost.
        rows: Its committed tree once it has ended, as `SearchState` has it.
        task: Its run, if it is running here.
        clients: Requests that wait for its answer.
    """

    id: str
    owner: str
    created: float
    request: ChatRequest
    fingerprint: str
    background: bool = False
    state: State = "running"
    result: dict[str, Any] | None = None
    error: ApiError | None = None
    seconds: float = 0.0
    spent: Ledger = field(default_factory=Ledger)
    rows: dict[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    clients: int = 0
    _told: list[tuple[Place, Event]] = field(default_factory=list)
    _known: set[tuple[str, str]] = field(default_factory=set)
    _place: Place = field(default_factory=Place)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # What happens to it.

    def hear(self, event: ThoughtEvent) -> None:
        """Take what the search's session tells; thoughts that are known already are passed over."""
        told = cast(ThoughtEvent | LedgerEvent, event)
        if told["type"] == "ledger":
            names = {figure.name for figure in fields(Ledger)}
            figures: Any = {name: value for name, value in told["ledger"].items() if name in names}
            asked = (
                self.spent.prompt_tokens or figures["prompt_tokens"]
            )  # by every run: counted once
            self.spent.add(Ledger(**figures))
            self.spent.prompt_tokens = asked
            return
        if (seconds := told["seconds"]) is not None:  # runs of a search follow each other
            told = {**told, "seconds": seconds + self.seconds}
        if (status := told["status"]) in ("accepted", "scored"):
            if (told["id"], status) in self._known:
                return
            self._known.add((told["id"], status))
            self._place = Place(
                self._place.thoughts + (status == "accepted"),
                self._place.rewards + (status == "scored"),
            )
        self._tell(told)

    def recall(self, state: Mapping[str, Any]) -> None:
        """Tell what a checkpoint has of it, unless it has been told."""
        self.rows = {key: state.get(key) or [] for key in ("thoughts", "rewards")}
        for row in self.rows["thoughts"]:
            tokens = row["tokens"]
            self.hear(_event(row, status="accepted", text=row["text"], tokens=tokens))
        for row in self.rows["rewards"]:
            self.hear(_event(row, status="scored", reward=row["reward"]))

    def become(self, state: State) -> None:
        """Change, and say so."""
        self.state = state
        self._tell({"type": "search", **self.summary()})

    def finish(self, values: Mapping[str, Any]) -> None:
        """Take the state that the graph ended with."""
        self.rows = {"thoughts": values["thoughts"], "rewards": values["rewards"]}
        tree = tree_of(values)
        tokens = sum(thought.tokens for thought in tree.thoughts.values())
        answer = values.get("answer")
        self.result = {
            "answer": answer,
            "content": _best_reply(tree) if answer is None else answer,
            "finish_reason": "length" if tokens >= self.token_limit else "stop",
            "stopped": values.get("stopped"),
            "tree_sha256": values["tree_sha256"],
        }
        self.become("done")

    def fail(self, error: ApiError) -> None:
        self.error = error
        self.become("failed")

    def _tell(self, event: Event) -> None:
        self._told.append((self._place, event))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # What it is.

    @property
    def token_limit(self) -> float:
        asked = self.request.max_completion_tokens or self.request.max_tokens
        return float("inf") if asked is None else asked

    @property
    def question(self) -> str:
        return asked_in(self.request.messages).question

    def summary(self) -> dict[str, Any]:
        """All but the tree and the question, as plain data."""
        return {
            "id": self.id,
            "object": "search",
            "created": int(self.created),
            "model": self.request.model,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            **dict.fromkeys(("answer", "content", "finish_reason", "stopped", "tree_sha256")),
            **(self.result or {}),
            "error": None if self.error is None else self.error.detail.model_dump(),
            "ledger": self.spent.report(),
        }

    # Who waits for it.

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Count a client; once none is left, a search that is not in the background is suspended.

        Cancelled like that, its run aborts all its requests at the engine.
        """
        self.clients += 1
        try:
            yield
        finally:
            self.clients -= 1
            if not self.clients and not self.background:
                self.cancel()

    def cancel(self) -> None:
        """End its run, once: a second time would interrupt what the first one began.

        A run that has come to its end is left to save it.
        """
        if self.state == "running" and self.task is not None and not self.task.cancelling():
            self.task.cancel()

    async def over(self) -> None:
        """Wait until it does not run any more."""
        while self.state == "running":
            await self._changed.wait()

    async def events(
        self, after: Place = Place(), *, ping_seconds: float
    ) -> AsyncIterator[tuple[Place | None, Event] | None]:
        """What is told from a place on, as it comes: None after a silence; a place where it moves.

        It ends with the search, and where the search is suspended.
        """
        index = 0
        while True:
            changed = self._changed
            while index < len(self._told):
                place, event = self._told[index]
                index += 1
                behind = place.thoughts < after.thoughts or place.rewards < after.rewards
                status = event.get("status")
                if status == "accepted":
                    if place.thoughts > after.thoughts:
                        after = replace(after, thoughts=place.thoughts)
                        yield after, event
                elif status == "scored":
                    if place.rewards > after.rewards:
                        after = replace(after, rewards=place.rewards)
                        yield after, event
                elif not behind or event.get("state") in ENDED:
                    yield None, event
            if self.state != "running":
                return
            try:
                async with asyncio.timeout(ping_seconds):
                    await changed.wait()
            except TimeoutError:
                yield None

    # What the database has of it.

    def record(self) -> Record:
        body = {
            "request": self.request.model_dump(exclude_none=True),
            "fingerprint": self.fingerprint,
            "background": self.background,
            "result": self.result,
            "error": None if self.error is None else self.error.saved(),
            "seconds": self.seconds,
            "spent": {name.name: getattr(self.spent, name.name) for name in fields(Ledger)},
            "rows": self.rows,
        }
        return Record(self.id, self.owner, self.state, self.created, body)

    @classmethod
    def from_record(cls, record: Record) -> Search:
        body = dict(record.body)
        error, spent, request = body.pop("error"), body.pop("spent"), body.pop("request")
        search = cls(
            id=record.id,
            owner=record.owner,
            created=record.created,
            state=cast(State, record.state),
            request=ChatRequest.model_validate(request),
            error=None if error is None else ApiError.from_saved(error),
            spent=Ledger(**spent),
            **body,
        )
        search.recall(search.rows)
        if search.state != "running":
            search.become(search.state)
        return search


def tree_rows(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of a graph's state as ``spex solve --json`` has them, each with its id."""
    rewards = {tuple(row["path"]): row["reward"] for row in rows.get("rewards", ())}
    return [
        {
            "id": path_id(tuple(row["path"])),
            "path": row["path"],
            "text": row["text"],
            "tokens": row["tokens"],
            "ends": row["ends"],
            "reward": rewards.get(tuple(row["path"])),
        }
        for row in rows.get("thoughts", ())
    ]


def _best_reply(tree: Tree) -> str:
    """The whole text of the path with the best reward, where no path has an answer to extract."""
    leaves = list(tree.leaves())
    if not leaves:
        return NO_ANSWER
    best = max(leaves, key=lambda path: tree.rewards.get(path, 0.0))
    return "\n".join(thought.text for thought in tree.chain(best)).strip() or NO_ANSWER


def _event(
    row: Mapping[str, Any],
    *,
    status: Literal["accepted", "scored"],
    text: str = "",
    reward: float | None = None,
    tokens: int | None = None,
) -> ThoughtEvent:
    path = tuple(row["path"])
    return {
        "type": "thought",
        "id": path_id(path),
        "parent": path_id(path[:-1]),
        "status": status,
        "text": text,
        "reward": reward,
        "seconds": None,
        "tokens": tokens,
    }
