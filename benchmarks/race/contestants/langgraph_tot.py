"""A tree of thoughts as a plain LangGraph graph: expand, score and prune, as in its tutorial.

Every candidate is a task of its own (`Send`), so a layer's thoughts are written at the same time,
and each is judged as soon as it is there; the graph goes on when the layer is whole.
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import httpx
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from benchmarks.race.contestants.common import DELIMITER, Problem, Server, race


class Layer(TypedDict, total=False):
    """The graph's state: what is kept, what has been written below it, and what has ended."""

    depth: int
    kept: list[str]
    candidates: Annotated[list[tuple[str, float]], operator.add]
    ended: list[tuple[str, float]]
    seen: int


class Child(TypedDict):
    """What one task is told: the text that it goes on from."""

    text: str


def graph_for(client: httpx.AsyncClient, problem: Problem, settings: dict[str, Any]) -> Any:
    """The graph that solves `problem`."""
    width, keep, depth = settings["width"], settings["keep"], settings["depth"]

    async def expand(state: Child) -> Layer:
        messages = [{"role": "user", "content": problem.question}]
        if state["text"]:
            messages.append({"role": "assistant", "content": state["text"]})
        body = {
            "model": "race",
            "messages": messages,
            "temperature": 0.8,
            "stop": [DELIMITER],
            "include_stop_str_in_output": True,
        }
        reply = (await client.post("/v1/chat/completions", json=body)).raise_for_status().json()
        return await score(state["text"] + reply["choices"][0]["message"]["content"])

    async def score(text: str) -> Layer:
        body = {"problem": problem.number, "text": text}
        reply = (await client.post("/reward", json=body)).raise_for_status().json()
        return {"candidates": [(text, reply["reward"])]}

    def prune(state: Layer) -> Layer:
        layer = state["candidates"][state.get("seen", 0) :]
        best = sorted(layer, key=lambda each: -each[1])
        ended = [each for each in best if "boxed" in each[0]]
        live = [text for text, _ in best if "boxed" not in text]
        return {
            "depth": state["depth"] + 1,
            "kept": live[:keep],
            "ended": [*state["ended"], *ended],
            "seen": len(state["candidates"]),
        }

    def more(state: Layer) -> list[Send] | str:
        if state["depth"] >= depth or not state["kept"]:
            return END
        children = width if state["depth"] else width * keep
        return [Send("expand", {"text": text}) for text in state["kept"] for _ in range(children)]

    builder = StateGraph(Layer)
    builder.add_node("expand", expand)
    builder.add_node("prune", prune)
    builder.add_conditional_edges(START, more, ["expand", END])
    builder.add_edge("expand", "prune")
    builder.add_conditional_edges("prune", more, ["expand", END])
    return builder.compile()


async def search(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    async with httpx.AsyncClient(base_url=server.url, timeout=600) as client:
        graph = graph_for(client, problem, settings)
        begun: Layer = {"depth": 0, "kept": [""], "ended": [], "candidates": []}
        state = await graph.ainvoke(begun, {"recursion_limit": 100})
    text: str = max(state["ended"], key=lambda each: each[1], default=("", 0.0))[0]
    return text


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    return asyncio.run(search(server, problem, settings))


if __name__ == "__main__":
    race(entry)
