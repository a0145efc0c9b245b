"""A ReAct graph that reads calendars and answers at once, or thinks about them by a search first.

``python -m examples.agents.meeting``. The model calls a tool until it has read what it needs. Then,
in place of its own last word, a node of ours proposes hours for a meeting, step by step. Its reward
looks each hour up in the calendars: the share of the people who are free then.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from examples.agents.models import chat_model
from examples.agents.showing import print_cost, print_trees
from spex_agents import ChatModelEngine, Rebase, Verifier, create_tot_node

CALENDARS = Path(__file__).parent / "data" / "calendars"
PEOPLE = sorted(file.stem for file in CALENDARS.glob("*.json"))
HOUR = timedelta(hours=1)
QUESTION = (
    "When on 2026-03-10 can Ana, Ken and Mia meet for an hour? Read all three calendars. Look at "
    "one hour at a time, and end with its beginning in UTC, as in: Answer: 2026-03-10T08:00Z"
)


@tool
def read_calendar(person: str) -> str:
    """Read a person's calendar: the hours they work, and when they are busy."""
    if person.lower() not in PEOPLE:
        raise ValueError(f"there is no calendar of {person!r}; there are {', '.join(PEOPLE)}")
    return (CALENDARS / f"{person.lower()}.json").read_text(encoding="utf-8")


def free(person: str, begin: datetime) -> bool:
    """Whether somebody can meet for an hour from then on."""
    calendar = json.loads((CALENDARS / f"{person}.json").read_text(encoding="utf-8"))
    works = [datetime.fromisoformat(moment) for moment in calendar["works"]]
    busy = [[datetime.fromisoformat(moment) for moment in pair] for pair in calendar["busy"]]
    return works[0] <= begin <= works[1] - HOUR and not any(
        begin < end and start < begin + HOUR for start, end in busy
    )


def hour_in(text: str) -> datetime | None:
    """The last moment in UTC that a text names."""
    found = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?=Z)", text)
    try:
        return datetime.fromisoformat(found[-1]).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def answered(text: str) -> str | None:
    """The hour that a line of the answer names."""
    begin = hour_in(text.rpartition("Answer:")[2]) if "Answer:" in text else None
    return None if begin is None else f"{begin:%Y-%m-%dT%H:%MZ}"


async def can_come(question: str, steps: Sequence[str]) -> float:
    """The share of the people who are free at the hour that the last step names."""
    begin = hour_in(steps[-1])
    return 0.0 if begin is None else sum(free(person, begin) for person in PEOPLE) / len(PEOPLE)


def react(model: Any, think: Any = None) -> Any:
    """Model and tools in turn; what comes last is `think`, or else the model's own reply."""
    with_tools = model.bind_tools([read_calendar])

    async def agent(state: MessagesState) -> dict[str, Any]:
        reply = await with_tools.ainvoke(state["messages"])
        return {"messages": [reply] if reply.tool_calls or think is None else []}

    def next_node(state: MessagesState) -> str:
        last = state["messages"][-1]
        calls = isinstance(last, AIMessage) and last.tool_calls
        return "tools" if calls else END if think is None else "think"

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode([read_calendar]))
    graph.add_edge(START, "agent").add_edge("tools", "agent")
    if think is not None:
        graph.add_node("think", think)
    graph.add_conditional_edges("agent", next_node)
    return graph.compile()


PROPOSED = ("13:00", "12:00", "11:00", "11:30", "15:00", "14:00")


def says(messages: Sequence[BaseMessage]) -> Sequence[AIMessage]:
    """What a model without a provider says: the likeliest hour overlooks where Ken is."""
    last = messages[-1]
    if isinstance(last, ToolMessage):
        return [
            AIMessage(f"Let me try 2026-03-10T{hour}Z.\n\nAnswer: 2026-03-10T{hour}Z")
            for hour in PROPOSED
        ]
    if isinstance(last, HumanMessage) and isinstance(messages[-2:][0], AIMessage):  # goes on
        tried = hour_in(str(messages[-2].text))
        return [AIMessage(f"Answer: {tried:%Y-%m-%dT%H:%MZ}")]
    calls = [
        {"name": "read_calendar", "args": {"person": name}, "id": f"call-{name}"}
        for name in ("Ana", "Ken", "Mia")
    ]
    return [AIMessage("", tool_calls=calls)]


async def answer(graph: Any) -> tuple[AIMessage, list[Any]]:
    """The last message, and what the search told meanwhile."""
    events, state = [], {}
    asked = {"messages": [("user", QUESTION)]}
    async for mode, part in graph.astream(asked, stream_mode=["custom", "values"]):
        if mode == "custom":
            events.append(part)
        else:
            state = part
    return state["messages"][-1], events


def verdict(reply: AIMessage) -> str:
    begin = hour_in(str(reply.text))
    if begin is None:
        return "fails: it names no hour"
    away = [person.capitalize() for person in PEOPLE if not free(person, begin)]
    return f"fails: {', '.join(away)} cannot come" if away else "passes: all can come"


async def main() -> None:
    model, seed_parameter = chat_model(says)
    reply, _ = await answer(react(model))
    print(f"without: {' '.join(str(reply.text).split())}\ncheck {verdict(reply)}\n")

    think = create_tot_node(
        ChatModelEngine(model, seed_parameter=seed_parameter),
        policy=Rebase(width=8),
        reward=Verifier(can_come, pure=True),
        vote="best",
        extract=answered,
    )
    reply, events = await answer(react(model, think))
    print_trees(events)
    print_cost(reply.response_metadata["spex"]["ledger"])
    print(f"with: {reply.text}\ncheck {verdict(reply)}")


if __name__ == "__main__":
    asyncio.run(main())
