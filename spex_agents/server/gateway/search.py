"""One search of a client's: what was asked, what has become of it, and who waits for it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, cast

from spex_agents.nodes.state import tree_of
from spex_agents.nodes.told import NO_ANSWER
from spex_agents.search.tree import Tree
from spex_agents.server.gateway.endings import ended_by
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.events import Events
from spex_agents.server.gateway.records import Record
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.tools import Call
from spex_agents.speculation.reporting.events import LedgerEvent, ThoughtEvent
from spex_agents.speculation.reporting.ledger import Ledger

State: TypeAlias = Literal["running", "suspended", "done", "failed"]
"""Suspended: its clients have left; it goes on where it was when it is asked for again."""


@dataclass(slots=True, eq=False, weakref_slot=True, kw_only=True)
class Search:
    """A search, as long as anybody runs or watches it; the database has it longer.

    Attributes:
        id: Of the search; also its thread's in the checkpoints.
        owner: The name of its key.
        key: The hash of the key that it runs for.
        created: Seconds since the epoch.
        request: What was asked.
        background: Whether it runs on without clients.
        seed: Decides it: the request's, or one that was drawn.
        idempotent: Whether it can be asked for again by its Idempotency-Key.
        run: Of its runs the one that may save it.
        state: What has become of it.
        result: Once it is done: `answer`, `content`, `finish_reason`, `stopped`, `tree_sha256`.
        error: Once it has failed, or as soon as it is ended for a reason.
        seconds: How long it has run, in runs that have ended.
        began: When its run here began, by the monotonic clock; None if it does not run here.
        spent: What all its runs have cost.
        rows: Its committed tree once it has ended, as `SearchState` has it.
        task: Its run, if it is running here.
        lost: Whether another gateway has taken over the run that this one had.
        limit: Committed tokens after which it decides no further.
        most: The same, had its key enough left.
        follower: Tells of it while another gateway runs it.
        clients: Requests that wait for its answer.
        events: What is told of it.
    """

    id: str
    owner: str
    key: str = ""
    created: float
    request: ChatRequest
    background: bool = False
    seed: int = 0
    idempotent: bool = True
    run: str = ""
    state: State = "running"
    result: dict[str, Any] | None = None
    error: ApiError | None = None
    seconds: float = 0.0
    began: float | None = None
    spent: Ledger = field(default_factory=Ledger)
    rows: dict[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    lost: bool = False
    limit: float = math.inf
    most: float = math.inf
    follower: asyncio.Task[None] | None = None
    clients: int = 0
    events: Events = field(default_factory=Events)

    # What happens to it.

    def hear(self, event: ThoughtEvent) -> None:
        """Take what the search's session tells."""
        told = cast(ThoughtEvent | LedgerEvent, event)
        if told["type"] == "ledger":
            self.spent.go_on(Ledger.of(told["ledger"]))
            return
        if (seconds := told["seconds"]) is not None:  # runs of a search follow each other
            told = {**told, "seconds": seconds + self.seconds}
        self.events.tell(told)

    def recall(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint has of it."""
        self.rows = {name: state.get(name) or [] for name in ("thoughts", "rewards")}
        self.events.recall(self.rows)

    def take_over(self, other: Search) -> None:
        """Be what another gateway has made of it."""
        self.recall(other.rows)
        for name in ("state", "result", "error", "seconds", "spent", "background", "seed"):
            setattr(self, name, getattr(other, name))

    def announce(self) -> None:
        """Tell who follows what has become of it."""
        self.events.tell({"type": "search", **self.summary()})

    def finish(self, values: Mapping[str, Any]) -> None:
        """Take the state that the graph ended with."""
        self.rows = {"thoughts": values["thoughts"], "rewards": values["rewards"]}
        if told := values.get("ledger"):
            self.spent.keep(Ledger.of(told))
        tree = tree_of(values)
        tokens = sum(thought.tokens for thought in tree.thoughts.values())
        answer = values.get("answer")
        if answer is not None and not isinstance(answer, str):
            answer = json.dumps(answer)
        self.result = {
            "answer": answer,
            "content": _best_reply(tree) if answer is None else answer,
            "finish_reason": "length" if tokens >= self.limit else "stop",
            "stopped": ended_by(
                values.get("stopped"),
                reached=tokens >= self.limit,
                limit=self.limit,
                most=self.most,
                asked=self.request.token_limit,
            ),
            "tree_sha256": values["tree_sha256"],
        }
        self.state = "done"

    def fail(self, error: ApiError) -> None:
        self.error = error
        self.state = "failed"

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

    def cancel(self, why: ApiError | None = None) -> None:
        """End its run, once: a second time would interrupt what the first one began.

        A run that has come to its end is left to save it. With a reason, the search has failed;
        without one it is suspended.
        """
        if self.state == "running" and self.task is not None and not self.task.cancelling():
            self.error = why
            self.task.cancel()

    def lose(self) -> None:
        """End its run, which another gateway has taken over."""
        if self.state == "running" and self.task is not None and not self.task.cancelling():
            self.lost = True
            self.task.cancel()

    def leave(self, *, followed: bool) -> None:
        """Be another gateway's, whose result is the one that counts; `followed` if it is told."""
        self.result = self.error = None
        self.state = "running"
        if not followed:
            self.state = "suspended"
            self.announce()

    @property
    def content(self) -> str:
        """The answer as text, which ends before the first of the request's stops."""
        text = str((self.result or {})["content"])
        for stop in self.request.stops:
            text = text.partition(stop)[0]
        return text

    @property
    def misses_its_form(self) -> bool:
        """Whether it was to have an answer of a certain form, and found none."""
        tools = self.request.offered
        formed = self.request.schema_wanted is not None or (tools is not None and tools.required)
        return formed and (self.result or {})["answer"] is None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The tools that it calls in place of an answer."""
        if (name := self.request.called) is not None:
            return (Call(name, self.content),)
        tools = self.request.offered
        return () if tools is None else tools.calls_in((self.result or {})["answer"])

    # What it is, as plain data.

    def summary(self) -> dict[str, Any]:
        """All but the tree and the question."""
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

    def record(self) -> Record:
        """What the database keeps."""
        body = {
            "request": self.request.saved,
            "key": self.key,
            "background": self.background,
            "seed": self.seed,
            "idempotent": self.idempotent,
            "result": self.result,
            "error": None if self.error is None else self.error.saved(),
            "seconds": self.seconds,
            "spent": asdict(self.spent),
            "rows": self.rows,
        }
        return Record(
            id=self.id,
            owner=self.owner,
            state=self.state,
            created=self.created,
            body=body,
            run=self.run,
        )

    @classmethod
    def from_record(cls, record: Record) -> Search:
        """The search that a record has.

        Raises:
            UnreadableRecord: It has none that this release understands.
        """
        body = record.body
        try:
            error = body["error"]
            request = ChatRequest.model_validate(body["request"])
            old = {"seed": request.given_seed or 0}  # which earlier releases did not keep
            search = cls(
                id=record.id,
                owner=record.owner,
                created=record.created,
                state=cast(State, record.state),
                run=record.run,
                request=request,
                error=None if error is None else ApiError.from_saved(error),
                spent=Ledger.of(body["spent"]),
                **old | {name: body[name] for name in _KEPT if name in body},
            )
            search.recall(search.rows)
            if search.state != "running":
                search.announce()
        except (ApiError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableRecord(record.id) from error
        return search


_KEPT = (
    *("key", "background", "seed", "idempotent"),
    *("result", "seconds", "rows"),
)


class UnreadableRecord(Exception):
    """A record of another release, or of a broken disk."""


def _best_reply(tree: Tree) -> str:
    """The whole text of the path with the best reward, where no path has an answer to extract."""
    leaves = list(tree.leaves())
    best = max(leaves or tree.thoughts, key=lambda path: tree.rewards.get(path, 0.0), default=())
    if not leaves and best:  # each thought is a try of its own
        return tree.thought(best).text.strip() or NO_ANSWER
    return "\n".join(thought.text for thought in tree.chain(best)).strip() or NO_ANSWER
