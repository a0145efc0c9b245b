"""The tutor for LangGraph Studio and the LangGraph server, as ``langgraph.json`` names it.

Its input is ``{"question": ..., "known": ..., "student": ...}``; it stops for each line of the
student. SPEX_ENGINE names its engine: embedded (the default), or the address of a server.
"""

import os
from typing import Any

from langchain_core.runnables import RunnableConfig

from examples.math_tutor.graph import create_math_tutor
from examples.math_tutor.problems import DEFAULT, LIMITS, SAMPLING, check_of
from spex_agents import make_engine
from spex_agents.engines import PromptTemplate
from spex_agents.problems import load
from spex_agents.search.registry import make_policy

engine = make_engine(os.environ.get("SPEX_ENGINE", "embedded"), None, None)


def tutor(config: RunnableConfig) -> Any:
    """The graph; an assistant may choose its policy, width, seed, reward, and set of problems.

    The set gives the style in which questions are put to the model, and its calculator; None for
    questions of any kind.
    """
    chosen = config.get("configurable", {})
    name = chosen.get("problems", DEFAULT)
    style = None if name is None else load(name)
    return create_math_tutor(
        engine,
        check_of(chosen.get("reward"), engine, style.reward if style else None),
        seed=chosen.get("seed", 0),
        policy=make_policy(chosen.get("policy", "rebase"), width=chosen.get("width", 8)),
        limits=LIMITS,
        sampling=SAMPLING,
        template=style.template if style else PromptTemplate(),
    )
