"""Searches for LangGraph Studio and the LangGraph server, as ``langgraph.json`` names them.

SPEX_ENGINE names their engine: embedded (the default), simulated, the address of a server, or a
chat model (``provider:model``). An assistant, or a run, chooses policy, width and more by its
context.
"""

import os

from langgraph.graph import START, MessagesState, StateGraph

from spex_agents import Limits, Rebase, create_tot_graph, create_tot_node, make_engine
from spex_agents.nodes import SearchContext, SearchSettings

engine = make_engine(os.environ.get("SPEX_ENGINE", "embedded"))
search: SearchSettings = {"policy": Rebase(width=4)}
if not engine.features.messages:
    search["limits"] = Limits(depth=4, step_tokens=64)

tot = create_tot_graph(engine, **search)

chat = StateGraph(MessagesState, context_schema=SearchContext)
chat.add_node("think", create_tot_node(engine, **search))
chat.add_edge(START, "think")
