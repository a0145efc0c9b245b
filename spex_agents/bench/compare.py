"""Policies on a problem set: how often each is right, at what price, and how soon.

Problem by problem, so that the machine's moods hit all alike: greedy decoding, each policy with
speculation off and on in alternating order (or off alone), and then as many samples as the dearest
of them has decoded tokens for. A policy's control is the majority of the first of these samples
that together have as many tokens as the policy has taken on that problem.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, Protocol, TypeAlias

from spex_agents.answers.equivalence import counted
from spex_agents.bench.journal import Journal
from spex_agents.bench.real import measure_pair, timed, wake
from spex_agents.bench.tally import GREEDY, MAJORITY, control
from spex_agents.errors import SettingsError, SpexError, at_least_one
from spex_agents.problems import Problem, ProblemSet
from spex_agents.rewards import Verifier
from spex_agents.search import BestOfN, Policy
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import stated
from spex_agents.speculation.solving import Result

MOST_SAMPLES = 1024
_ENOUGH = 1.1  # times as many tokens would do, or more samples are drawn
_TRIES = 3


class Progress(Protocol):
    """Watches a comparison."""

    def begin(self, problem: int, method: str) -> None:
        """A method begins on a problem, named by its number."""

    def end(self, row: Mapping[str, Any]) -> None:
        """A method has ended on a problem, with this row; an earlier run's are told too."""


Sample: TypeAlias = tuple[str | None, int, bool]
"""A whole answer: its canonical form, its tokens, and whether it is right."""


async def compare(
    config: SearchConfig,
    problems: ProblemSet,
    policies: Mapping[str, Policy],
    journal: Callable[[], Journal],
    *,
    seed: int = 0,
    at_once: int = 1,
    progress: Progress | None = None,
) -> Journal:
    """Run every method on every problem that the journal has no good row of.

    Args:
        config: What the searches are made of, its `speculation` included; the policy is replaced.
            Without speculation each search runs once, off.
        problems: What to solve; config has their template, extract and canonical.
        policies: By the names that the rows have.
        journal: Opens the journal, once the engine is known to answer.
        seed: Decides the run.
        at_once: Problems at the same time; from 2 on, seconds compare nothing.
        progress: Told of each search as it begins, and of its row.

    Raises:
        SettingsError: The journal holds other problems, or `at_once` is below 1.
        EngineError: The engine does not answer at all.
    """
    at_least_one(at_once=at_once)
    for name in {GREEDY, MAJORITY} & policies.keys():
        raise SettingsError(f"policy={name!r}: is a baseline's name")
    await wake(config, problems.problems[0][1].question)
    rows = journal()
    gate = asyncio.Semaphore(at_once)

    async def solve_one(place: int, number: int, problem: Problem) -> None:
        async with gate:
            run = _Runs(config, problem, rows, number=number, seed=seed, progress=progress)
            await run.keep(GREEDY, "", run.greedy)
            for index, (name, policy) in enumerate(policies.items()):
                order = bool((place + index) % 2)
                one = partial(run.policy, policy, ahead_first=order)
                await run.keep(name, plain_repr(policy), one)
            await run.keep(MAJORITY, "", partial(run.majority, run.dearest(policies)))

    try:
        async with asyncio.TaskGroup() as group:
            for place, (number, problem) in enumerate(problems.problems):
                group.create_task(solve_one(place, number, problem))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return rows


def plain_repr(value: object) -> str:
    """A value's `repr` without addresses of functions, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _check_same(kept: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    for name in ("question", "settings"):
        if kept[name] != row[name]:
            raise SettingsError(
                f"rows: {row['method']} on problem {row['problem']} had another {name}: "
                f"{kept[name]!r}, not {row[name]!r}; name another file"
            )


def _each(rows: Sequence[Mapping[str, Any]]) -> float:
    """Tokens of a sample, from those drawn so far; of greedy decoding before there are any."""
    good = [row for row in rows if row["error"] is None]
    lengths = [tokens for row in good for _, tokens, _ in row.get("samples", ())]
    lengths = lengths or [row["useful_tokens"] for row in good if row["method"] == GREEDY]
    return max(1.0, fmean(lengths)) if lengths else 1.0


def _tokens(samples: Iterable[Sample]) -> int:
    return sum(tokens for _, tokens, _ in samples)


class _Runs:
    """The methods on one problem: each gives what its row holds."""

    def __init__(
        self,
        config: SearchConfig,
        problem: Problem,
        rows: Journal,
        *,
        number: int,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.config, self.problem, self.number = config, problem, number
        self.seed = seed * 1_000_000 + number
        self.rows, self.progress = rows, progress
        self.done = {
            row["method"]: row
            for row in rows.rows
            if row["problem"] == number and row["error"] is None
            if config.speculation is None or row["method"] in (GREEDY, MAJORITY) or "on_s" in row
        }
        sampling = replace(config.sampling, logprobs=False)
        self.plain = replace(
            config, sampling=sampling, speculation=None, vote="majority", reward=_UNJUDGED
        )

    async def keep(
        self, method: str, settings: str, make: Callable[[], Awaitable[dict[str, object]]]
    ) -> None:
        """Run a method, unless the journal has a good row of it, and add its row."""
        row: dict[str, Any] = {
            "method": method,
            "settings": settings,
            "problem": self.number,
            "question": hashlib.sha256(self.problem.question.encode()).hexdigest()[:16],
            "error": None,
        }
        if (kept := self.done.get(method)) is not None:
            _check_same(kept, row)
            if self.progress is not None:
                self.progress.end(kept)
            return
        if self.progress is not None:
            self.progress.begin(self.number, method)
        try:
            row |= await make()
            self.done[method] = row
        except (SpexError, OSError) as error:
            row["error"] = f"{type(error).__name__}: {error}"
        self.rows.add(row)
        if self.progress is not None:
            self.progress.end(row)

    def dearest(self, policies: Iterable[str]) -> int:
        """Tokens of the dearest policy; earlier samples that fall short of them are forgotten."""
        tokens = [self.done[name]["useful_tokens"] for name in policies if name in self.done]
        dearest: int = max(tokens, default=1)
        if self.done.get(MAJORITY, {}).get("aim", dearest) * _ENOUGH < dearest:
            del self.done[MAJORITY]
        return dearest

    async def greedy(self) -> dict[str, object]:
        config = replace(
            self.plain,
            policy=BestOfN(width=1),
            sampling=replace(self.plain.sampling, temperature=0),
        )
        result, seconds = await timed(config, self.problem.question, self.seed)
        return await self._row(config, result, seconds)

    async def policy(self, policy: Policy, *, ahead_first: bool) -> dict[str, object]:
        config = replace(self.config, policy=policy)
        if config.speculation is None:
            result, seconds = await timed(config, self.problem.question, self.seed)
            return await self._row(config, result, seconds) | await self._drawn(policy, result)
        pair, result = await measure_pair(
            config, self.problem.question, self.seed, ahead_first=ahead_first
        )
        return await self._row(config, result, pair.off_s) | {
            "on_s": round(pair.on_s, 6),
            "wasted_tokens": pair.wasted_tokens,
            "same_tree": pair.same_tree,
            "same_answer": pair.same_answer,
            "launched": result.ledger.launched,
            "hits": result.ledger.hits,
            **await self._drawn(policy, result),
        }

    async def majority(self, aim: int) -> dict[str, object]:
        """As many samples as have about `aim` tokens together: those of best-of-n, if they do."""
        for row in self.done.values():
            drawn = row.get("samples", ())
            if row["method"] != MAJORITY and _tokens(drawn) * _ENOUGH >= aim:
                return self._voted(drawn, aim, row["off_s"])
        each = _each(self.rows.rows)
        for _ in range(_TRIES):
            count = min(MOST_SAMPLES, max(1, math.ceil(aim / each)))
            config = replace(self.plain, policy=BestOfN(width=count))
            result, seconds = await timed(config, self.problem.question, self.seed)
            decoded = result.ledger.useful_tokens
            if decoded * _ENOUGH >= aim or count == MOST_SAMPLES:
                break
            each = max(1.0, decoded / count)
        return self._voted(await self._samples(result), aim, seconds)

    def _voted(self, samples: Sequence[Sample], aim: int, seconds: float) -> dict[str, object]:
        right, tokens = control(samples, aim)
        return {
            "right": right,
            "off_s": round(seconds, 6),
            "useful_tokens": tokens,
            "aim": aim,
            "samples": samples,
        }

    async def _drawn(self, policy: Policy, result: Result) -> dict[str, object]:
        """The samples of a policy that draws whole answers: the majority's would be the same."""
        return {"samples": await self._samples(result)} if type(policy) is BestOfN else {}

    async def _samples(self, result: Result) -> list[Sample]:
        config, leaves = self.plain, list(result.tree.leaves())
        answers = {leaf: _answer(config, result.tree, leaf) for leaf in leaves}
        given = [answer for answer in answers.values() if answer is not None]
        label = dict(zip(given, await counted(given, config.canonical), strict=True))
        right = {one: await self.problem.right(one) for one in sorted(set(label.values()))}
        samples = []
        for leaf, answer in answers.items():
            name = None if answer is None else label[answer]
            tokens = result.tree.thought(leaf).tokens
            samples.append((name, tokens, name is not None and right[name]))
        return samples

    async def _row(self, config: SearchConfig, result: Result, seconds: float) -> dict[str, object]:
        path = result.path
        answer = None if path is None else _answer(config, result.tree, path)
        return {
            "answer": answer,
            "right": answer is not None and await self.problem.right(answer),
            "off_s": round(seconds, 6),
            "useful_tokens": result.ledger.useful_tokens,
            "thoughts": len(result.tree),
            "tree_sha256": result.tree_sha256,
        }


async def _one(question: str, steps: Sequence[str]) -> float:
    return 1.0


_UNJUDGED = Verifier(_one, pure=True, name="none")


def _answer(config: SearchConfig, tree: Tree, leaf: Path) -> str | None:
    """What a leaf answers, if it does."""
    return stated(config, tree.question, leaf, tree.chain(leaf))
