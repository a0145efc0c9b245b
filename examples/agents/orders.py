"""An agent that asks a database, without a search and with one at each of its model's calls.

``python -m examples.agents.orders``. The first agent reads the rows and adds them up in its head.
The second considers several next messages: their queries are run, and a reward looks at what came
of them. The reward does not know the answer. It wants queries that find something, and an answer
whose numbers were returned by the database.
"""

from __future__ import annotations

import asyncio
import csv
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from examples.agents.models import chat_model
from examples.agents.showing import print_cost, print_trees
from spex_agents import Rebase, SpexMiddleware

ORDERS = Path(__file__).parent / "data" / "orders.csv"
SYSTEM = (
    "You answer questions about the table orders(id, day, country, product, quantity, cents, "
    "status) in SQLite. day is like 2026-03-01, country like DE, status is paid, refunded or "
    "cancelled. Say the number in your answer as the database gives it."
)
QUESTION = (
    "How much did orders from Germany bring in in March 2026, in euros? Leave out what was "
    "cancelled or refunded."
)
ROWS = 50
SEED = 3


def database() -> bytes:
    """The orders as an SQLite database."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE orders (id INTEGER, day TEXT, country TEXT, product TEXT, quantity INTEGER, "
        "cents INTEGER, status TEXT)"
    )
    with ORDERS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    return connection.serialize()


DATABASE = database()


@tool
def query(sql: str) -> str:
    """Run one SELECT on the table of orders; the first rows that it finds, one a line."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(DATABASE)  # a copy: whatever the query does is gone afterwards
        rows = connection.execute(sql).fetchmany(ROWS)
    finally:
        connection.close()
    return "\n".join(" | ".join(map(str, row)) for row in rows) or "no rows"


async def grounded(messages: Sequence[BaseMessage]) -> float:
    """How well a conversation stands on what the database returned: from 0 to 1."""
    asked = max(at for at, message in enumerate(messages) if isinstance(message, HumanMessage))
    results = [message for message in messages[asked:] if isinstance(message, ToolMessage)]
    found = [one for one in results if one.status != "error" and re.search(r"\d", str(one.text))]
    if not found:
        return 0.0
    if isinstance(messages[-1], ToolMessage):
        return 0.5 if len(found) == len(results) else 0.2
    known = set().union(*(numbers(str(one.text)) for one in [messages[asked], *found]))
    return 1.0 if numbers(str(messages[-1].text)) <= known else 0.1


def numbers(text: str) -> set[float]:
    """The numbers in a text.

    Example:
        >>> sorted(numbers("1,250.50 euros for 3"))
        [3.0, 1250.5]
    """
    return {float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}


def brought_in() -> float:
    """The right answer, from the file itself."""
    with ORDERS.open(encoding="utf-8", newline="") as file:
        return sum(
            int(row["cents"]) / 100
            for row in csv.DictReader(file)
            if row["country"] == "DE"
            and row["day"].startswith("2026-03")
            and row["status"] == "paid"
        )


def says(messages: Sequence[BaseMessage]) -> Sequence[AIMessage]:
    """What a model without a provider says: the mistakes of real ones, and what is right."""
    last = messages[-1]
    if not isinstance(last, ToolMessage):
        return [
            _asks("product, cents", "DE"),
            _asks("SUM(cents) / 100.0", "Germany"),
            _asks("SUM(cents) / 100.0", "DE"),
            _asks("SUM(amount)", "DE"),
        ]
    lines = str(last.text).splitlines()
    if len(lines) > 1:  # adds them up in its head
        cents = [int(line.rpartition("|")[2]) for line in lines]
        return [AIMessage(f"{sum(cents[:at]) / 100:,.2f} euros.") for at in (-1, -2)]
    if numbers(lines[0]):
        return [AIMessage(f"{float(lines[0]):,.2f} euros.")]
    return [AIMessage("0 euros."), AIMessage("There were no such orders.")]


def _asks(columns: str, country: str) -> AIMessage:
    where = f"country = '{country}' AND day LIKE '2026-03-%' AND status = 'paid'"
    sql = f"SELECT {columns} FROM orders WHERE {where}"  # noqa: S608 (a script's own words)
    call = {"name": "query", "args": {"sql": sql}, "id": "call-1", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


async def answer(agent: Any) -> tuple[str, list[Any], list[BaseMessage]]:
    """What an agent answers, what its searches told meanwhile, and all messages."""
    events, state = [], {}
    asked = {"messages": [("user", QUESTION)]}
    async for mode, part in agent.astream(asked, stream_mode=["custom", "values"]):
        if mode == "custom":
            events.append(part)
        else:
            state = part
    return str(state["messages"][-1].text), events, state["messages"]


def verdict(said: str) -> str:
    right = brought_in()
    return f"{'passes' if right in numbers(said) else 'fails'}: the file says {right:.2f}"


async def main() -> None:
    model, seed_parameter = chat_model(says)
    plain = create_agent(model, [query], system_prompt=SYSTEM)
    said, _, messages = await answer(plain)
    replies = [message for message in messages if isinstance(message, AIMessage)]
    written = sum(one.usage_metadata["output_tokens"] for one in replies if one.usage_metadata)
    print(f"without: {said}\ncheck {verdict(said)}")
    print(f"cost: {len(replies)} calls of the model, {written} tokens written\n")

    considerate = SpexMiddleware(
        policy=Rebase(width=6),
        reward=grounded,
        pure=True,
        free_of_side_effects=["query"],
        depth=2,
        seed=SEED,
        seed_parameter=seed_parameter,
    )
    agent = create_agent(model, [query], system_prompt=SYSTEM, middleware=[considerate])
    said, events, messages = await answer(agent)
    print_trees(events)
    replies = [message for message in messages if isinstance(message, AIMessage)]
    print_cost(*(message.response_metadata["spex"]["ledger"] for message in replies))
    print(f"with: {said}\ncheck {verdict(said)}")


if __name__ == "__main__":
    asyncio.run(main())
