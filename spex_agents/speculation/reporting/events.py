"""What is told to whoever watches a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NotRequired, TypeAlias, TypedDict

from spex_agents.search.tree import Path

Status: TypeAlias = Literal[
    "begun",
    "speculative",
    "demanded",
    "written",
    "accepted",
    "scoring",
    "judged",
    "scored",
    "cancelled",
    "failed",
    "wasted",
]


class ThoughtEvent(TypedDict):
    """What happened to a thought, for whoever watches the search.

    A thought is "begun" because the search demands it, or "speculative": begun before that, and
    "demanded" if it is later. It is "written" once its text is there, and "accepted" in the tree.
    Its reward is asked for ("scoring"), arrives ("judged") and is in the tree ("scored"). A guess
    may be "cancelled" (retracted before it was demanded); a request may have "failed"; and what the
    search has not demanded when it ends is "wasted".

    Attributes:
        text: With "written" and "accepted"; else empty.
        reasoning: What the model reasoned before it, with these, where that was kept.
        reward: With "judged" and "scored"; else None.
        seconds: Since the session began, on the loop's clock; None where a checkpoint is retold.
        same_as: With "accepted": the thought of the same decision that says the same, where
            candidates are merged; this one is not gone on with.
        engine: The name of the engine that writes it, if the policy names one.
        tokens: Decoded for the thought ("written", "accepted", "failed", "wasted") or its reward
            ("judged"); None where it is not known: what an abort has cost is told by the ledger.
        search: Which search, where several may be told of: a graph's, anew in each run of it.
        origin: Where in a graph that search runs, by LangGraph's namespace (``think:`` and an id);
            empty if it is no part of another graph.
        tool_call: The id of the tool call that it answers, if it does.

    Example:
        >>> import asyncio
        >>> from spex_agents import BestOfN, SearchConfig, solve
        >>> from spex_agents.engines import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> events: list[ThoughtEvent] = []
        >>> engine = SimulatedEngine(speed=1000)
        >>> config = SearchConfig(engine=engine, policy=BestOfN(width=1), reward=SimulatedReward())
        >>> _ = asyncio.run(solve(config, "What is 5 + 7?", listener=events.append))
        >>> events[0]["status"], events[0]["id"]
        ('begun', '0')
    """

    type: Literal["thought"]
    id: str
    parent: str
    status: Status
    text: str
    reward: float | None
    seconds: float | None
    tokens: int | None
    reasoning: NotRequired[str]
    same_as: NotRequired[str]
    engine: NotRequired[str]
    search: NotRequired[str]
    origin: NotRequired[str]
    tool_call: NotRequired[str]


class LedgerEvent(TypedDict):
    """What a run of a search graph has spent, told once, at its end: `Ledger.report`."""

    type: Literal["ledger"]
    ledger: dict[str, float]
    search: NotRequired[str]
    origin: NotRequired[str]
    tool_call: NotRequired[str]


Listener: TypeAlias = Callable[[ThoughtEvent], None]
"""Called with every event, in the loop of the search."""


def thought_event(
    path: Path,
    status: Status,
    *,
    text: str = "",
    reasoning: str = "",
    reward: float | None = None,
    seconds: float | None = None,
    tokens: int | None = None,
    same_as: Path | None = None,
    engine: str = "",
) -> ThoughtEvent:
    """The event that something has happened to the thought at `path`."""
    event: ThoughtEvent = {
        "type": "thought",
        "id": path_id(path),
        "parent": path_id(path[:-1]),
        "status": status,
        "text": text,
        "reward": None if reward is None else float(reward),
        "seconds": seconds,
        "tokens": tokens,
    }
    if reasoning:
        event["reasoning"] = reasoning
    if same_as is not None:
        event["same_as"] = path_id(same_as)
    if engine:
        event["engine"] = engine
    return event


def path_id(path: Path) -> str:
    """The name of a path in events and request ids: ``0.3.1``; the root's is empty."""
    return ".".join(map(str, path))
