"""The graph's state: plain rows that any checkpointer can hold, and the tree they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Final, NotRequired, TypeVar

from typing_extensions import TypedDict

from spex_agents.search.policy import State as PolicyState
from spex_agents.search.tree import Critique, Finish, Path, Thought, Tree, words_of
from spex_agents.speculation.merging import repeating
from spex_agents.speculation.result import Result

T = TypeVar("T")


class ThoughtRow(TypedDict):
    """A committed thought; see [`Thought`][spex_agents.search.tree.Thought].

    Example:
        >>> from spex_agents import create_tot_graph
        >>> from spex_agents.engines import SimulatedEngine
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), policy="best-of-n").compile()
        >>> row: ThoughtRow = graph.invoke({"question": "What is 5 + 7?"})["thoughts"][0]
        >>> row["path"], row["tokens"] > 0
        ([0], True)
    """

    path: list[int]
    text: str
    tokens: int
    finish: Finish
    ends: bool
    logprobs: list[float] | None
    reasoning: NotRequired[str]
    reasoning_tokens: NotRequired[int]
    same_as: NotRequired[list[int]]


class RewardRow(TypedDict):
    """The reward of the committed thought at `path`, and what it says besides, if anything.

    Example:
        >>> row: RewardRow = {"path": [0, 2], "reward": 0.7, "words": "The sum holds."}
    """

    path: list[int]
    reward: float
    words: NotRequired[str]


class FailureRow(TypedDict):
    """Why the path of the committed thought at `path` has failed."""

    path: list[int]
    reason: str


class BallotRow(TypedDict):
    """A vote: what the leaf at `path` answers, and what that weighs."""

    path: list[int]
    answer: str
    weight: float


class Subject(TypedDict):
    """What the rows in the state are about, and what its run had chosen (`SearchContext`).

    Example:
        >>> subject: Subject = {"question": "What is 5 + 7?", "seed": 1}
    """

    question: str
    seed: int
    context: NotRequired[dict[str, Any]]


class Decided(TypedDict):
    """A policy's decision: its state, the tuples as lists, and the paths that it demands.

    None are demanded once it has finished.
    """

    state: Any
    paths: list[list[int]]


class Told(TypedDict):
    """The message that is streamed of a search: its id, and whose thoughts have been streamed."""

    id: str
    path: list[int]


def append(rows: list[Any], new: list[Any] | None) -> list[Any]:
    """The reducer of rows: they are only ever added to; None begins anew, for another question.

    Example:
        >>> append([1], [2, 3]), append([1], None)
        ([1, 2, 3], [])
    """
    return [] if new is None else [*rows, *new]


class SearchState(TypedDict, total=False):
    """A search between two steps; the question and the answer have the keys you choose besides.

    Attributes:
        seed: Decides the run.
        subject: The question and the seed that the rows belong to.
        thoughts: The committed thoughts in the order of their commitment.
        rewards: Their rewards, likewise.
        failures: The paths that have failed, likewise.
        decided: What the policy has decided last.
        stopped: The termination rule that ended the search, or None; what is told of the end may
            be missing before that.
        timed: Whether that, and so the tree, depended on timing.
        ledger: What the search has spent in all its runs so far; see `Ledger`. What a run spent
            after its last checkpoint is in it too, unless its process has ended. Figures of 0 are
            left out before the search has ended.
        tree_sha256: The hash of the whole tree; None before the search has ended. It begins with
            ``timed:`` if the tree depends on timing.
        ballots: The votes, once the search has ended.
        agreement: The answer's share of them; None without a vote.
        answer_path: Of the leaf that the answer is taken from; None without an answer.
        told: The message that is streamed: its id, and the path up to which its thoughts have been.
            That is the answer's path once the search has ended.

    Example:
        >>> state: SearchState = {"seed": 8, "thoughts": [], "rewards": []}
        >>> from spex_agents import create_tot_graph
        >>> from spex_agents.engines import SimulatedEngine
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), policy="best-of-n").compile()
        >>> graph.invoke({"question": "What is 5 + 7?", **state})["answer"]
        '12'
    """

    seed: int
    subject: Subject
    thoughts: Annotated[list[ThoughtRow], append]
    rewards: Annotated[list[RewardRow], append]
    failures: Annotated[list[FailureRow], append]
    decided: Decided
    stopped: str | None
    timed: bool
    ledger: dict[str, float]
    tree_sha256: str | None
    ballots: list[BallotRow]
    agreement: float | None
    answer_path: list[int] | None
    told: Told


ROWS: Final = ("thoughts", "rewards", "failures")
"""The keys of what grows."""


def grown(state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`state` as it is once `new` has been written to it."""
    rows = {key: append(state.get(key, []), new[key]) for key in ROWS if key in new}
    return {**state, **new, **rows}


def unsaved(values: Mapping[Path, T], rows: Sequence[Any]) -> dict[Path, T]:
    """What has been committed since `rows` were written, in the order of commitment."""
    return dict(islice(values.items(), len(rows), None))


def thought_rows(thoughts: Mapping[Path, Thought]) -> list[ThoughtRow]:
    return [_row(path, thought) for path, thought in thoughts.items()]


def _row(path: Path, thought: Thought) -> ThoughtRow:
    row = ThoughtRow(
        path=list(path),
        text=thought.text,
        tokens=thought.tokens,
        finish=thought.finish,
        ends=thought.ends and not (thought.same_as and thought.failed),
        logprobs=None if thought.logprobs is None else list(thought.logprobs),
    )
    if thought.reasoning:
        row["reasoning"], row["reasoning_tokens"] = thought.reasoning, thought.reasoning_tokens
    if thought.same_as is not None:
        row["same_as"] = list(thought.same_as)
    return row


def reward_rows(rewards: Mapping[Path, float]) -> list[RewardRow]:
    return [_reward_row(path, reward) for path, reward in rewards.items()]


def _reward_row(path: Path, reward: float) -> RewardRow:
    row = RewardRow(path=list(path), reward=float(reward))
    for words in words_of(reward):
        row["words"] = words
    return row


def _reward(row: Mapping[str, Any]) -> float:
    words: str = row.get("words", "")
    return Critique(row["reward"], words) if words else float(row["reward"])


def first_state(state: Mapping[str, Any], subject: Subject, answer_key: str) -> dict[str, Any]:
    """What begins a search on `subject`: takes back what another has left in `state`."""
    left = SearchState.__annotations__.keys() - {"seed", "subject", "decided"} | {answer_key}
    return {"subject": subject, **{key: None for key in sorted(left) if state.get(key)}}


def outcome_of(result: Result, path: Path, *, answered: bool) -> dict[str, Any]:
    """What the state says of a search that has ended, besides its answer, taken from `path`."""
    return {
        "tree_sha256": result.tree_sha256,
        "ballots": [
            BallotRow(path=list(ballot.path), answer=ballot.answer, weight=ballot.reward)
            for ballot in result.ballots
        ],
        "agreement": result.agreement,
        "answer_path": list(path) if answered else None,
    }


def tree_of(state: Mapping[str, Any]) -> Tree:
    """The tree that a graph's state or result holds.

    Example:
        >>> row = {"path": [0], "text": "It is 4.", "tokens": 4, "finish": "stop", "ends": True}
        >>> state = {"subject": {"question": "What is 2 + 2?", "seed": 7}, "thoughts": [row]}
        >>> tree_of(state).thought((0,)).text
        'It is 4.'
    """
    subject = state["subject"]
    return Tree(
        subject["question"],
        subject["seed"],
        {tuple(row["path"]): _thought(row) for row in state.get("thoughts", ())},
        {tuple(row["path"]): _reward(row) for row in state.get("rewards", ())},
    ).with_failures({tuple(row["path"]): row["reason"] for row in state.get("failures", ())})


def _thought(row: Mapping[str, Any]) -> Thought:
    logprobs = row.get("logprobs")
    thought = Thought(
        text=row["text"],
        tokens=row["tokens"],
        finish=row["finish"],
        ends=row["ends"],
        logprobs=None if logprobs is None else tuple(logprobs),
        reasoning=row.get("reasoning", ""),
        reasoning_tokens=row.get("reasoning_tokens", 0),
    )
    other = row.get("same_as")
    return thought if other is None else repeating(thought, tuple(other))


def decided(policy_state: PolicyState, paths: Iterable[Path] = ()) -> Decided:
    """A decision in the types that JSON has."""
    return Decided(state=_plain(policy_state), paths=[list(path) for path in paths])


def _plain(item: PolicyState) -> Any:
    return [_plain(part) for part in item] if isinstance(item, tuple) else item


def policy_state_of(state: Mapping[str, Any]) -> PolicyState:
    """The policy's state as the policy wrote it, but for the names of named tuples."""
    return _tuples(state["decided"]["state"])


def demanded_in(state: Mapping[str, Any]) -> tuple[Path, ...]:
    """The paths that the last decision demands."""
    return tuple(map(tuple, state["decided"]["paths"]))


def _tuples(item: Any) -> PolicyState:
    return tuple(map(_tuples, item)) if isinstance(item, list) else item
