"""What is remembered of a student from problem to problem, in LangGraph's store."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

from langgraph.store.base import BaseStore

Status: TypeAlias = Literal["open", "done", "given up", "unsolved"]

_MOST = 1000


class Record(TypedDict):
    """One problem of a student.

    Attributes:
        question: What it asks.
        status: Where it stands; unsolved if the tutor has found no solution.
        hints: How many were given.
        slips: What kinds of steps went wrong, and how often.
    """

    question: str
    status: Status
    hints: int
    slips: dict[str, int]


async def remember(store: BaseStore | None, student: str, thread: str, record: Record) -> None:
    """Keep the record of a thread, in place of the one before."""
    if store is not None:
        await store.aput(_namespace(student), thread, dict(record), index=False)


async def recall(store: BaseStore | None, student: str) -> dict[str, Record]:
    """The records of a student, by thread, in the order of their names."""
    if store is None:
        return {}
    items = await store.asearch(_namespace(student), limit=_MOST)
    found = {item.key: Record(**item.value) for item in items}  # type: ignore[typeddict-item]
    return dict(sorted(found.items()))


def _namespace(student: str) -> tuple[str, ...]:
    plain = student.replace("%", "%25").replace(".", "%2E")  # names in a store have no dots
    return ("math_tutor", plain)
