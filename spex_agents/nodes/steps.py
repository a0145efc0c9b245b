"""The steps of the search graph: each asks the run's session, and writes what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from langchain_core.runnables import RunnableConfig

from spex_agents.errors import SettingsError
from spex_agents.nodes.context import context_here
from spex_agents.nodes.listening import listener_of
from spex_agents.nodes.run import Run
from spex_agents.nodes.schema import AnswerSchema
from spex_agents.nodes.state import (
    ROWS,
    FailureRow,
    Subject,
    Told,
    decided,
    demanded_in,
    first_state,
    grown,
    outcome_of,
    reward_rows,
    thought_rows,
    unsaved,
)
from spex_agents.nodes.told import is_free_text, new_id, tell, voice_of
from spex_agents.search.policy import Expand, settled
from spex_agents.speculation.questions import check_question
from spex_agents.speculation.session import Session

State: TypeAlias = Mapping[str, Any]
Update: TypeAlias = dict[str, Any]

STEP_TOKENS: Final = 256
"""Tokens of single thoughts after which a step of the graph ends, at the latest."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The nodes of a search graph; see `create_tot_graph`."""

    schema: AnswerSchema | None
    question_key: str
    answer_key: str
    seed: int

    async def select(self, state: State, run: Run, config: RunnableConfig) -> Update:
        subject = _subject(state, self.question_key, self.seed)
        new: Update = {}
        if state.get("subject") != subject or state.get("tree_sha256") is not None:
            new = first_state(state, subject, self.answer_key)
            start = {
                "subject": subject,
                "decided": decided(run.search(subject).policy.start()),
                "ledger": None,
            }
            session = await run.session(start, config, listener_of(config))
        else:
            session = await run.session(state, config, listener_of(config))
            if not session.stopped and not _carried_out(demanded_in(state), session):
                return {"decided": state["decided"]}
        return new | await _decided(session, {**state, **new}, config)

    async def expand(self, state: State, run: Run, config: RunnableConfig) -> Update:
        """Carry out the decision, and those after it as long as each demands a single thought.

        A checkpoint costs some kilobytes, so one is worth a whole path, or `STEP_TOKENS`.
        """
        if self.is_asked_anew(state):
            return {}
        run.fail_again()
        standing = run.attempted(state)
        session = await run.session(standing, config, listener_of(config))
        try:
            while True:
                demanded = demanded_in(standing)
                await session.expand(demanded)
                if len(demanded) > 1 and session.stopped is None:
                    break  # a layer: its rewards have a step of their own
                await session.evaluate(demanded)
                new = await _decided(session, standing, config) | _rows(session, standing)
                standing = grown(standing, new)
                run.attempt(state, standing)
                if len(demanded_in(standing)) != 1 or _is_worth_keeping(state, standing):
                    break
        except Exception as error:
            if not (rows := _rows(session, state)):
                raise
            run.fail_next(error)  # a checkpoint first, of what has been written
            return _changed(state, standing) | rows | _spent(run, session)
        return _changed(state, standing) | _rows(session, state) | _spent(run, session)

    def is_asked_anew(self, state: State) -> bool:
        """Whether the state asks for another search than it holds: a fork may have edited it."""
        subject: Subject = state["subject"]
        return subject != _subject(state, self.question_key, self.seed)

    def after_select(self, state: State) -> str:
        demanding = state["decided"]["paths"] or self.is_asked_anew(state)
        return "expand" if demanding else "answer"

    def after_expand(self, state: State) -> str:
        """To the rewards of a layer; a single thought has its own, and what comes next is decided.

        To the beginning of another search, where the state has been edited.
        """
        if self.is_asked_anew(state):
            return "select"
        paths = state["decided"]["paths"]
        written = [row["path"] for row in state["thoughts"][-len(paths) :]]
        return "evaluate" if paths and paths[-1] in written else self.after_select(state)

    async def evaluate(self, state: State, run: Run, config: RunnableConfig) -> Update:
        session = await run.session(state, config, listener_of(config))
        run.fail_again()
        await session.evaluate(demanded_in(state))
        return _rows(session, state) | _spent(run, session)

    async def answer(self, state: State, run: Run, config: RunnableConfig) -> Update:
        session = await run.session(state, config, listener_of(config))
        told = _told(state)
        told_path = tuple(told["path"])
        path = await session.accepted(told_path)
        came = await session.result()
        elected: Any = came.answer
        if (
            self.schema is not None
            and (came.ballots or came.stopped is None)  # else it is the rule's doing
            and (found := self.schema.elect(came.ballots, session.config.vote))
        ):
            elected, path = found
        ended = outcome_of(came, path, answered=elected is not None)
        if is_free_text(session, path, elected) and not told_path:
            path = told_path  # its thoughts are the answer, and no reasoning before it
        await run.settle()  # what still runs is waste, and counted as such
        ended |= {
            "ledger": run.spent(session).report(),
            "stopped": came.stopped,
            "timed": session.timed,
        }
        result = {**ended, "answer": elected, "failures": state.get("failures", [])}
        told = await tell(session, told, path, voice_of(config), result)
        return {**ended, self.answer_key: elected, "told": told}


def _subject(state: State, question_key: str, seed: int) -> Subject:
    """What a run is about: where it chooses nothing, what the search on its question has chosen."""
    question = state.get(question_key)
    if not isinstance(question, str):
        raise SettingsError(f"{question_key}={question!r}: the state must hold a question, a str")
    before = state.get("subject") or {}
    same = before.get("question") == question
    context = context_here() or (before.get("context", {}) if same else {})
    seed = state.get("seed", context.get("seed", seed))
    subject = Subject(question=check_question(question), seed=seed)
    return {**subject, "context": context} if context else subject


def _carried_out(demanded: tuple[tuple[int, ...], ...], session: Session) -> bool:
    """Whether the last decision was: not if its run failed, and the same question is put again."""
    tree = session.tree
    leaves_only = session.config.policy.leaves_only
    failures = session.config.failures
    lost = failures is not None and failures.reward is None
    return all(
        path in tree
        and (
            path in tree.rewards
            or (leaves_only and not tree.thought(path).ends)
            or (lost and tree.lost(path))
        )
        for path in demanded
    )


def _told(state: State) -> Told:
    """The message that is streamed; where nothing has been, it has no name yet."""
    return state.get("told") or Told(id=new_id(), path=[])


async def _decided(session: Session, state: State, config: RunnableConfig) -> Update:
    """What the next decision changes."""
    decision = await session.decide()
    paths = decision.paths if isinstance(decision, Expand) else ()
    path = settled(session.config.policy, session.state, session.tree)
    told = await tell(session, _told(state), path, voice_of(config))
    update = {
        "told": told if told["path"] else None,
        "stopped": session.stopped,
        "timed": session.timed or None,
    }
    update = {key: value for key, value in update.items() if value is not None}
    return {"decided": decided(session.state, paths), **update}


_NOTHING: Final = object()


def _is_worth_keeping(state: State, standing: State) -> bool:
    """Whether what has been written since `state` was ends a path, or is much."""
    new = standing["thoughts"][len(state.get("thoughts", ())) :]
    return bool(new[-1]["ends"]) or sum(row["tokens"] for row in new) >= STEP_TOKENS


def _changed(state: State, standing: State) -> Update:
    """What differs between two states, but for the rows."""
    return {
        key: value
        for key, value in standing.items()
        if key not in ROWS and value != state.get(key, _NOTHING)
    }


def _spent(run: Run, session: Session) -> Update:
    """What has been spent so far, briefly: every checkpoint has it."""
    figures = run.spent(session).figures().items()
    return {"ledger": {name: round(figure, 4) for name, figure in figures if figure}}


def _rows(session: Session, state: State) -> Update:
    """What has been committed since `state` was written."""
    tree = session.tree
    known = {tuple(row["path"]) for row in state.get("failures", ())}
    failed = {path: reason for path, reason in tree.failures().items() if path not in known}
    rows = {
        "thoughts": thought_rows(unsaved(tree.thoughts, state.get("thoughts", ()))),
        "rewards": reward_rows(unsaved(tree.rewards, state.get("rewards", ()))),
        "failures": [FailureRow(path=list(path), reason=why) for path, why in failed.items()],
    }
    return {key: value for key, value in rows.items() if value}
