"""The lesson as a graph: solve, ask, then hint, check or explain, and ask again, until the end."""

from __future__ import annotations

from typing import Any, Unpack

from langgraph.graph import END, START, StateGraph

from examples.math_tutor.checks import Check
from examples.math_tutor.nodes import Lesson, Tutor
from spex_agents import create_tot_graph
from spex_agents.engines import Engine, PromptTemplate
from spex_agents.nodes import SearchSettings


def create_math_tutor(
    engine: Engine, check: Check, *, seed: int = 0, **search: Unpack[SearchSettings]
) -> StateGraph[Any, Any, Any, Any]:
    """Build the lesson's graph, not compiled; it needs a checkpointer, and uses a store.

    Its input is ``{"question": ..., "known": ..., "student": ...}``; all but the question may be
    left out. It stops at an interrupt for each line of the student, and goes on by
    ``Command(resume=line)``. What the tutor says are the AI messages of its state. A run that was
    broken off in the search goes on with it, by `None` for input. Its nodes are asynchronous: call
    `ainvoke` or `astream`, with ``durability="sync"`` if a killed process is to lose nothing.

    Args:
        engine: Who writes thoughts.
        check: What the search is led by, and how far that is to be trusted.
        seed: Decides the lesson but for the student's part.
        **search: Keywords of the search, but for its reward.

    Raises:
        SettingsError: The parts do not fit together.
    """
    # To its end: the right answer may be one that most paths miss, and what they tried is taught.
    chosen: SearchSettings = {
        "template": PromptTemplate(),
        "free_text": False,
        "termination": None,
    }
    chosen |= search | {"reward": check.reward}
    solve = create_tot_graph(engine, seed=seed, **chosen)
    tutor = Tutor(check)

    def asks_or(end: str) -> Any:
        return lambda state: end if tutor.over(state) else "ask"

    graph = StateGraph(Lesson)
    graph.add_node("begin", tutor.begin)
    graph.add_node("solve", solve.compile(name="tree of thoughts"))
    graph.add_node("prepare", tutor.prepare)
    graph.add_node("ask", tutor.ask)
    graph.add_node("hint", tutor.hint)
    graph.add_node("check", tutor.mark)
    graph.add_node("explain", tutor.explain)
    graph.add_node("give up", tutor.give_up)
    graph.add_node("finish", tutor.finish)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "solve")
    graph.add_edge("solve", "prepare")
    graph.add_conditional_edges("prepare", asks_or("finish"), ["ask", "finish"])
    graph.add_conditional_edges("ask", tutor.turn, ["hint", "explain", "give up", "check"])
    graph.add_edge("hint", "ask")
    graph.add_conditional_edges("check", asks_or("explain"), ["ask", "explain"])
    graph.add_edge("give up", "explain")
    graph.add_conditional_edges("explain", asks_or("finish"), ["ask", "finish"])
    graph.add_edge("finish", END)
    return graph
