"""The tutor's turns: each node reads the lesson, and says something."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from examples.math_tutor import words
from examples.math_tutor.checks import Check
from examples.math_tutor.evidence import Evidence, Step
from examples.math_tutor.marking import LONGEST, Mark, mark
from examples.math_tutor.memory import Record, Status, recall, remember
from examples.math_tutor.steps import form, slip
from spex_agents.nodes import SearchState, tree_of
from spex_agents.speculation.questions import check_question

Update: TypeAlias = dict[str, Any]
Turn: TypeAlias = Literal["hint", "explain", "give up", "check"]

_COMMANDS: dict[str, Turn] = {
    "hint": "hint",
    "h": "hint",
    "explain": "explain",
    "why": "explain",
    "give up": "give up",
    "giveup": "give up",
}


class Lesson(SearchState, total=False):
    """One problem of one student; the keys of the search's tree besides.

    Attributes:
        question: What is to be solved.
        known: Its right answer, where it is known.
        student: Whose lesson it is: what is remembered goes by this name.
        answer: What the search elected.
        messages: What was said, both ways.
        path: The path of the tree that is taught; None if there is no sound one.
        at: The step that is asked for, counted from 0.
        hinted: Hints given for it.
        wrong: Slips that were counted at it: the same again is no other one.
        reply: The student's last line.
        status: Where the lesson stands.
        hints: Hints given in all.
        slips: Kinds of wrong steps, and how often.
    """

    question: str
    known: str | None
    student: str
    answer: str | None
    messages: Annotated[list[AnyMessage], add_messages]
    path: list[int] | None
    at: int
    hinted: int
    wrong: list[str]
    reply: str
    status: Status
    hints: int
    slips: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tutor:
    """The nodes of the lesson's graph.

    Attributes:
        check: What stands behind the solution.
    """

    check: Check

    async def begin(self, state: Lesson, *, runtime: Runtime) -> Update:
        check_question(state.get("question", ""))
        before = await recall(runtime.store, _student(state))
        before.pop(_thread(runtime), None)
        none_yet: Update = {"thoughts": None, "rewards": None, "path": None, "status": "open"}
        none_yet |= {"at": 0, "hinted": 0, "wrong": [], "hints": 0, "slips": {}}
        return none_yet | _say(words.greeting(list(before.values())))

    async def prepare(self, state: Lesson, *, runtime: Runtime) -> Update:
        evidence, known = Evidence(tree_of(state), self.check), state.get("known")
        path = await evidence.solution(known)
        if path is None or not (steps := evidence.steps(path)):
            update = {"status": "unsolved", **_say(words.no_solution(evidence, known))}
        else:
            said = words.led_to(words.opening(evidence, path, steps, known), steps, 0)
            update = {"path": list(path), **_say(said)}
        return await _noted(state, update, runtime)

    def ask(self, state: Lesson) -> Update:
        _, steps = self._read(state)
        line = str(interrupt(words.question(steps, state["at"])))
        line = line[: LONGEST + 1].encode("utf-8", "replace").decode()  # no halves of characters
        return {"reply": line, "messages": [HumanMessage(line)]}

    async def hint(self, state: Lesson, *, runtime: Runtime) -> Update:
        _, steps = self._read(state)
        graded = words.hints(steps[state["at"]])
        number = min(state["hinted"], len(graded) - 1)
        update = {"hinted": number + 1, "hints": state["hints"] + 1, **_say(graded[number])}
        return await _noted(state, update, runtime)

    async def mark(self, state: Lesson, *, runtime: Runtime) -> Update:
        evidence, steps = self._read(state)
        at, wrong = state["at"], state.get("wrong", [])
        found = await mark(state["reply"], steps, at)
        sure = state.get("known") is not None or self.check.decides
        kind = self._slip(found, steps, at, sure=sure)
        update: Update = {}
        if found.verdict == "another way" and found.attempt and found.attempt.way:
            update = {"path": list(found.attempt.way), "at": at + 1, "hinted": 0, "wrong": []}
        elif found.verdict in ("right", "ahead") and found.step is not None:
            update = {"at": found.step + 1, "hinted": 0, "wrong": []}
        elif kind is not None and (slipped := f"{kind}: {form(found.value)}") not in wrong:
            slips = dict(Counter(state["slips"]) + Counter([kind]))
            update = {"slips": slips, "wrong": [*wrong, slipped]}
        said = words.marked(found, steps, at, self.check, kind, sure=sure)
        if "at" in update:
            path = tuple(update.get("path") or state["path"] or ())
            said = words.led_to(said, evidence.steps(path), update["at"])
        return await _noted(state, {**update, **_say(said)}, runtime)

    def explain(self, state: Lesson) -> Update:
        _, steps = self._read(state)
        said = [message.text for message in state["messages"] if message.type == "ai"][-1]
        return _say(words.explanation(steps, state["at"], self.check, said))

    def give_up(self, state: Lesson) -> Update:
        _, steps = self._read(state)
        return {"at": len(steps), "status": "given up"}

    async def finish(self, state: Lesson, *, runtime: Runtime) -> Update:
        if (path := state["path"]) is None:
            return {}
        evidence, steps = self._read(state)
        status = "done" if state["status"] == "open" else state["status"]
        came_to = words.came_to(evidence, tuple(path), steps, state.get("known"))
        said = f"{came_to} {words.closing(state['hints'], state['slips'])}"
        update = {"status": status, **_say(said)}
        return await _noted(state, update, runtime)

    # Where it goes on.

    def turn(self, state: Lesson) -> Turn:
        word = " ".join(state["reply"].casefold().split()).strip(".!?")
        return _COMMANDS.get(word, "check")

    def over(self, state: Lesson) -> bool:
        return state["path"] is None or state["at"] >= len(self._read(state)[1])

    def _read(self, state: Lesson) -> tuple[Evidence, tuple[Step, ...]]:
        evidence, path = Evidence(tree_of(state), self.check), state["path"]
        return evidence, () if path is None else evidence.steps(tuple(path))

    def _slip(self, found: Mark, steps: tuple[Step, ...], at: int, *, sure: bool) -> str | None:
        """What is noted of a wrong step; None of one that nothing can tell to be wrong."""
        step = steps[at]
        if found.verdict == "unit":
            return "unit"
        if found.verdict == "false sum":
            return slip(found.value, step.value, step.text, ())
        if found.holds and not sure:
            return None
        if found.verdict in ("wrong", "tried") and self.check.covers(step.text):
            kind = slip(found.value, step.value, step.text, [one.value for one in steps[:at]])
            computed = kind == "operation" or not found.holds
            return kind if computed else "of another kind"
        return None


async def _noted(state: Lesson, update: Update, runtime: Runtime) -> Update:
    """`update`, of which the student's record is kept for other lessons."""
    now: Any = {**state, **update}
    record = Record(
        question=now["question"], status=now["status"], hints=now["hints"], slips=now["slips"]
    )
    await remember(runtime.store, _student(state), _thread(runtime), record)
    return update


def _student(state: Lesson) -> str:
    return state.get("student") or "student"


def _thread(runtime: Runtime) -> str:
    info = runtime.execution_info
    return (info and info.thread_id) or "no thread"


def _say(text: str) -> Update:
    return {"messages": [AIMessage(text)]} if text else {}
