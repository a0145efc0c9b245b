"""The yardstick on a virtual clock: deterministic, free of noise, the same code as a real search.

Every row compares the same searches (same seeds, same trees) with speculation off, with it on, and
with an oracle that issues every thought of the final tree as soon as its parent's text exists: the
limit of any speculation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from spex_agents.bench.case import Case
from spex_agents.bench.figures import rounded
from spex_agents.bench.searches import searches
from spex_agents.search import Tree
from spex_agents.speculation.config import Forecast, Known, Speculation
from spex_agents.speculation.reporting.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a case came to: means over seeds; times in seconds on the virtual clock.

    Attributes:
        termination: The rule, on, off and with the oracle alike.
        lossy: Whether it may change the answer.
        speedup: off_s / on_s, where a run of several queries ends with its last.
        query_speedup: The same of the mean seconds of a query.
        oracle_share: Of the speed-up that perfect foresight reaches.
        hit_rate: Thoughts begun early that were demanded.
        waste_ratio: Wasted per useful token.
        demanded_slowdown: Growth of the time a useful token takes, because others decode beside it.
        predictor_ms_per_event: Mean computing time; the one figure that differs between runs.
        fairness: Jain's index of the queries' speed-ups: 1 where all gain alike.
        same_tree: Seeds where the trees of off, on and oracle have equal hashes.
        full_s: Seconds with neither speculation nor termination rule.
        same_answer: Share of searches whose answer is that of the full search.
        synthesised: Share of the off trees' thoughts that a recorded trace lacked.
    """

    preset: str
    search: str
    policy: str
    width: int | None
    rollouts: int | None
    queries: int
    reward_latency: float
    seeds: int
    termination: str
    lossy: bool
    off_s: float
    on_s: float
    oracle_s: float
    speedup: float
    query_speedup: float
    oracle_share: float
    hit_rate: float
    waste_ratio: float
    demanded_slowdown: float
    predictor_ms_per_event: float
    fairness: float
    same_tree: int
    full_s: float
    same_answer: float
    synthesised: float

    def report(self) -> dict[str, object]:
        return rounded(asdict(self))


def run(case: Case) -> Row:
    """Run one case.

    Example:
        >>> from spex_agents.search import Rstar
        >>> policy = Rstar(rollouts=4)
        >>> case = Case(preset="paper-7b", name="rstar", policy=policy, depth=5, seeds=2)
        >>> row = run(case)
        >>> row.same_tree, row.speedup > 1.5
        (2, True)
    """
    off, on, oracle, full, fairness = [], [], [], [], []
    spent, spent_off = Ledger(), Ledger()
    same_tree = same_answers = 0
    each_off: list[float] = []
    each_on: list[float] = []
    synthesised: list[float] = []
    for seed in range(case.seeds):
        plain = searches(case, seed, [None] * case.queries)
        ahead = searches(case, seed, [case.ahead()] * case.queries)
        budget = case.budget()
        perfect = searches(
            case,
            seed,
            [
                Speculation(forecast=_perfect(result.tree), budget=budget)
                for result in plain.results
            ],
        )
        whole = plain
        if case.termination is not None:
            whole = searches(replace(case, termination=None), seed, [None] * case.queries)
        same_tree += plain.hashes() == ahead.hashes() == perfect.hashes()
        same_answers += sum(
            one.answer == other.answer
            for one, other in zip(ahead.results, whole.results, strict=True)
        )
        off.append(plain.seconds)
        on.append(ahead.seconds)
        oracle.append(perfect.seconds)
        full.append(whole.seconds)
        each_off += plain.finished
        each_on += ahead.finished
        synthesised.append(plain.synthesised)
        spent.add(ahead.ledger())
        spent_off.add(plain.ledger())
        fairness.append(_jain([a / b for a, b in zip(plain.finished, ahead.finished, strict=True)]))
    return Row(
        preset=case.hardware().name,
        search=case.label,
        policy=case.name,
        width=getattr(case.policy, "width", None),
        rollouts=getattr(case.policy, "rollouts", None),
        queries=case.queries,
        reward_latency=case.reward_latency,
        seeds=case.seeds,
        termination="none" if case.termination is None else str(case.termination),
        lossy=case.termination is not None and case.termination.lossy,
        off_s=fmean(off),
        on_s=fmean(on),
        oracle_s=fmean(oracle),
        speedup=fmean(off) / fmean(on),
        query_speedup=fmean(each_off) / fmean(each_on),
        oracle_share=fmean(oracle) / fmean(on),
        hit_rate=spent.hit_rate,
        waste_ratio=spent.waste_ratio,
        demanded_slowdown=_pace(spent) / _pace(spent_off) - 1,
        predictor_ms_per_event=1000 * spent.plan_seconds / max(1, spent.plans),
        fairness=fmean(fairness),
        same_tree=same_tree,
        full_s=fmean(full),
        same_answer=same_answers / (case.seeds * case.queries),
        synthesised=fmean(synthesised),
    )


def _perfect(tree: Tree) -> Forecast:
    """Perfect foresight: what the search will demand is what it has demanded before."""

    def forecast(known: Known) -> dict[tuple[int, ...], float]:
        return {
            path: 1.0
            for path in tree.thoughts
            if path not in known.tree and (len(path) == 1 or path[:-1] in known.thoughts)
        }

    return forecast


def _pace(ledger: Ledger) -> float:
    """Seconds from a request to its text, for each useful token."""
    return ledger.useful_seconds / max(1, ledger.useful_tokens)


def _jain(gains: Sequence[float]) -> float:
    """Jain's index of the searches' speed-ups: 1 where all gain alike, 1/n where one has it all."""
    return sum(gains) ** 2 / (len(gains) * sum(gain * gain for gain in gains))


def sweep(cases: Sequence[Case], progress: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run some cases, telling `progress` each row as it comes."""
    rows = []
    for case in cases:
        rows.append(run(case))
        progress(rows[-1])
    return rows
