"""What a response consists of: its thoughts as a reasoning item, and what it says or calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spex_agents.server.gateway.completions import call_id, said_by
from spex_agents.server.gateway.search import Search


def reasoning_item(search: Search, thought: str | None) -> dict[str, Any]:
    """The item of the thoughts; None while it is in progress."""
    summary = [] if thought is None else [{"type": "summary_text", "text": thought}]
    return {"id": f"rs_{search.id}", "type": "reasoning", "summary": summary}


def said_items(search: Search) -> list[dict[str, Any]]:
    """The items of the answer: a message, or the calls of tools."""
    if called := search.calls:
        return [
            {
                "id": f"fc_{search.id}" + (f"_{index}" if index else ""),
                "type": "function_call",
                "call_id": call_id(search, index),
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            for index, call in enumerate(called)
        ]
    said, _ = said_by(search)
    part = (
        {"type": "refusal", "refusal": said["refusal"]}
        if "refusal" in said
        else {"type": "output_text", "text": said["content"], "annotations": [], "logprobs": []}
    )
    return [
        {
            "id": f"msg_{search.id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    ]


def saying(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of an item that says the answer, or calls a tool in its place."""
    if item["type"] == "function_call":
        named = {"item_id": item["id"], "name": item["name"]}
        begun = {**item, "status": "in_progress", "arguments": ""}
        yield "response.output_item.added", {"item": begun}
        yield "response.function_call_arguments.delta", {**named, "delta": item["arguments"]}
        yield "response.function_call_arguments.done", {**named, "arguments": item["arguments"]}
        yield "response.output_item.done", {"item": item}
        return
    (part,) = item["content"]
    named = {"item_id": item["id"], "content_index": 0}
    yield "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}
    said = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if said == "refusal" else "response.output_text"
    more: dict[str, Any] = {} if said == "refusal" else {"logprobs": []}
    yield "response.content_part.added", {**named, "part": {**part, said: ""}}
    yield f"{kind}.delta", {**named, "delta": part[said], **more}
    yield f"{kind}.done", {**named, said: part[said], **more}
    yield "response.content_part.done", {**named, "part": part}
    yield "response.output_item.done", {"item": item}
