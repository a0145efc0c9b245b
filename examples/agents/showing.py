"""What a search has done and cost, printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from spex_agents.speculation import Ledger
from spex_agents.view.standings import mark

COLUMNS = 100


def print_trees(events: Iterable[Mapping[str, Any]]) -> None:
    """Print the tree of each search, from the parts of ``stream_mode="custom"``."""
    searches: dict[str, dict[str, dict[str, Any]]] = {}
    for event in events:
        if event["type"] == "thought":
            thoughts = searches.setdefault(str(event.get("search", "")), {})
            thought = thoughts.setdefault(event["id"], {"standing": "speculative"})
            thought["text"] = event["text"] or thought.get("text", "")
            if event["reward"] is not None:
                thought["reward"] = event["reward"]
            if (standing := _STANDINGS.get(event["status"])) is not None:
                thought["standing"] = standing
    for number, thoughts in enumerate(searches.values(), start=1):
        branches = {"": Tree(f"search {number}")}
        for path in sorted(thoughts, key=lambda path: [int(part) for part in path.split(".")]):
            parent = path.rpartition(".")[0]
            if parent in branches:
                branches[path] = branches[parent].add(_line(thoughts[path]))
        Console(width=COLUMNS, highlight=False).print(branches[""])


_STANDINGS = {
    "begun": "demanded",
    "accepted": "accepted",
    "cancelled": "retracted",
    "failed": "failed",
    "wasted": "wasted",
}


def _line(thought: Mapping[str, Any]) -> Text:
    reward = f"{thought['reward']:.2f} " if "reward" in thought else ""
    said = _said(thought["text"]) or "cancelled before it was written"
    text = f"{mark(thought['standing'])} {reward}{said}"
    return Text(" ".join(text.split()), no_wrap=True, overflow="ellipsis")


def _said(text: str) -> str:
    """A thought in words: one of `SpexMiddleware` is messages, as JSON."""
    try:
        messages = json.loads(text)
    except ValueError:
        return text
    if not isinstance(messages, list):
        return text
    parts: list[str] = []
    for message in messages:
        calls = [
            f"{call['name']}({', '.join(map(str, call['args'].values()))})"
            for call in message.get("calls", ())
        ]
        arrow = "-> " if message["type"] == "tool" else ""
        parts += [*calls, *([arrow + message["text"]] if message["text"] else [])]
    return " ".join(parts)


def print_cost(*ledgers: Mapping[str, float]) -> None:
    """Print what searches have spent, together."""
    total = Ledger()
    for ledger in ledgers:
        total.add(Ledger.of(ledger))
    print(f"cost: {total.thought_calls} calls of the model, {total.bill}")
