"""The agent as a graph: plan, search, test, and repair what fails, until the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypedDict, Unpack, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from examples.coding_assistant.search import FENCE, settings, without_trailing_space
from examples.coding_assistant.task import Task
from examples.coding_assistant.testing import UnitTests, shared_tests
from spex_agents import create_tot_graph
from spex_agents.engines import Engine
from spex_agents.errors import SettingsError
from spex_agents.nodes import (
    RewardRow,
    SearchSettings,
    Subject,
    ThoughtRow,
    append,
    inner_config,
    listener_of,
    question_in,
    tree_of,
)
from spex_agents.sandbox import Verdict
from spex_agents.speculation import Ledger, Listener, ThoughtEvent
from spex_agents.speculation.reporting.events import thought_event

ROUNDS = 2


class CoderState(TypedDict, total=False):
    """The agent between two steps. Its tree has a thought for each round, its search below that.

    Attributes:
        messages: The conversation.
        question: What to answer, instead of the last message.
        seed: Decides the run.
        subject: What the tree is about.
        thoughts: The tree's, of all rounds.
        rewards: Likewise.
        task: What the round is to write, as the question of its search.
        round: How many searches there have been.
        program: The best one so far.
        report: What its tests say.
        answer: The reply.
        stopped: What ended the last search.
        ledger: What all searches have cost.
        tree_sha256: The hash of the whole tree, once the answer is there.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    question: str
    seed: int
    subject: Subject
    thoughts: Annotated[list[ThoughtRow], append]
    rewards: Annotated[list[RewardRow], append]
    task: str
    round: int
    program: str | None
    report: dict[str, Any]
    answer: str | None
    stopped: str | None
    ledger: dict[str, float]
    tree_sha256: str | None


def create_coder(
    engine: Engine,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    tests: UnitTests | None = None,
    **search: Unpack[SearchSettings],
) -> StateGraph[Any, Any, Any, Any]:
    """Build the graph ``plan -> search -> test -> (repair -> search -> test ...) -> answer``.

    It takes messages, or a question, and is run asynchronously. With a checkpointer each turn of a
    thread goes on from the program of the turn before.

    Args:
        engine: Who writes.
        rounds: Searches at most: what the first one leaves wrong is repaired by another, which
            sees the program and its failing tests.
        seed: Decides the run where the state has no `seed` of its own.
        tests: How programs are tested.
        **search: Keywords of the search that replace the assistant's own.

    Raises:
        SettingsError: The parts do not fit together, or programs cannot be kept apart here.
    """
    if rounds < 1:
        raise SettingsError(f"rounds={rounds!r}: must be a whole number of at least 1")
    tests = tests or shared_tests()
    own = {"reward": tests, "canonical": without_trailing_space, "free_text": False}
    searching = create_tot_graph(engine, **settings(**{**own, **search})).compile(name="search")

    async def plan(state: CoderState) -> CoderState:
        question = state.get("question") or question_in(state.get("messages", []))
        task = Task.read(question)
        return {
            "subject": Subject(question=question, seed=state.get("seed", seed)),
            "thoughts": cast(list[ThoughtRow], None),  # begins anew, as do the rewards
            "rewards": cast(list[RewardRow], None),
            "task": task.question,
            "round": 0,
            "program": None,
            "ledger": {},
            "tree_sha256": None,
        }

    async def write(state: CoderState, config: RunnableConfig) -> CoderState:
        task, number = Task.of(state["task"]), state["round"]
        listener = listener_of(config)
        tell = None if listener is None else _below(number, listener)
        row = ThoughtRow(
            path=[number], text=_aim(task), tokens=0, finish="step", ends=False, logprobs=None
        )
        if listener is not None:
            listener(thought_event((number,), "accepted", text=row["text"], tokens=0))
        asked = {"question": state["task"], "seed": state["subject"]["seed"]}
        found = await searching.ainvoke(asked, inner_config(config, answers=False, listener=tell))
        thoughts: list[ThoughtRow] = found["thoughts"]
        rewards: list[RewardRow] = found["rewards"]
        for one in (*thoughts, *rewards):
            one["path"] = [number, *one["path"]]
        return {
            "thoughts": [row, *thoughts],
            "rewards": rewards,
            "program": found["answer"],
            "round": number + 1,
            "stopped": found["stopped"],
            "ledger": _sum(state["ledger"], found["ledger"]),
        }

    async def test(state: CoderState) -> CoderState:
        if state["program"] is None:
            report = Verdict(passed=0, total=1, failures=("no whole program was written",))
        else:
            report = await tests.report(Task.of(state["task"]), state["program"])
        return {
            "report": {
                "passed": report.passed,
                "total": report.total,
                "failures": list(report.failures),
            }
        }

    async def repair(state: CoderState) -> CoderState:
        task = Task.of(state["task"])
        output = "\n".join(state["report"]["failures"])
        return {"task": replace(task, program=state["program"] or "", output=output).question}

    async def answer(state: CoderState) -> CoderState:
        text = _reply(state)
        return {
            "answer": text,
            "messages": [AIMessage(text, response_metadata={"spex": {"ledger": state["ledger"]}})],
            "tree_sha256": tree_of(state).sha256(),
        }

    def over(state: CoderState) -> str:
        done = state["report"]["passed"] == state["report"]["total"]
        return "answer" if done or state["round"] >= rounds else "repair"

    graph = StateGraph(CoderState)
    graph.add_node("plan", plan)
    graph.add_node("search", write)
    graph.add_node("test", test)
    graph.add_node("repair", repair)
    graph.add_node("answer", answer)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "search")
    graph.add_edge("search", "test")
    graph.add_conditional_edges("test", over, ["repair", "answer"])
    graph.add_edge("repair", "search")
    graph.add_edge("answer", END)
    return graph


def _reply(state: CoderState) -> str:
    report = Verdict(**state["report"])
    if state["program"] is None:
        return "No whole program was written: try again with another seed, or more rollouts."
    said = [f"{FENCE}python\n{state['program']}\n{FENCE}", f"{report}."]
    return "\n\n".join([*said, *(f"* {failure}" for failure in report.failures)])


def _aim(task: Task) -> str:
    if task.output:
        return f"repair: {task.output.splitlines()[0]}"
    return "change the program" if task.program else "write the program"


def _below(number: int, listener: Listener) -> Listener:
    """Tells the events of a round's search as those of a tree below the round's own thought."""

    def tell(event: ThoughtEvent) -> None:
        if event["type"] == "thought":
            parent = f"{number}.{event['parent']}".rstrip(".")
            event = {**event, "id": f"{number}.{event['id']}", "parent": parent}
        listener(event)

    return tell


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Two reports of ledgers as one."""
    whole = Ledger.of(one)
    whole.add(Ledger.of(other))
    return whole.report()
