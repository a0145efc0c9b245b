"""Whether running ahead is ever slower: all policies in worlds where requests or rewards cost.

Every row runs the same searches off and on. The baseline is as fast as it can be without guessing,
and demanded work goes first on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from types import MappingProxyType

from spex_agents.bench.case import Case, depth_cap
from spex_agents.bench.figures import rounded
from spex_agents.bench.searches import Searches, searches
from spex_agents.engines.base import Request
from spex_agents.engines.simulated.api import API
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.errors import SettingsError
from spex_agents.search import Path, Policy, Rebase
from spex_agents.search.registry import make_policy, stated
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.turns import Searcher

LINEAR = Hardware(name="linear", slots=16, overhead=0.010, compute=0.050)
"""10 ms + 50 ms for each request: what one gains by running beside others, it takes from them."""

_CASE = Case(preset="paper-7b", name="rebase", policy=Rebase(width=16), depth=10)

WORLDS: Mapping[str, Case] = MappingProxyType(
    {
        "linear": replace(_CASE, preset=LINEAR),
        "cpu-135m": replace(_CASE, preset="cpu-135m"),
        "paper-7b": _CASE,
        "2 reward workers": replace(_CASE, reward_latency=1.0, reward_workers=2),
        "4 reward workers": replace(_CASE, reward_latency=1.0, reward_workers=4),
        "rewards ask the engine": replace(_CASE, preset="cpu-135m", votes=4),
        "blocking policy": replace(_CASE, decision_seconds=0.03),
        "limited API": replace(_CASE, limits=(60, 40_000), capacity="online"),
        "unlimited API": replace(_CASE, preset=API, capacity="online"),
    }
)
"""By name, each as a case whose policy is to be filled in."""

LEAST_WORST, LEAST_MEDIAN = 0.97, 1.0
"""The promise, of every row."""

SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType({"rstar": {"rollouts": 10}})
"""Of policies that are measured with other sizes than their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One policy in one world.

    Attributes:
        policy: Its name with its size.
        world: One of `WORLDS`.
        seeds: Searches, off and on.
        worst: The least of their ratios, seconds off / on.
        median: The median of them.
        off_s: Mean seconds without speculation.
        on_s: With it.
        waste: Wasted per useful token, with it.
        reward_calls: Rewards asked for, on / off.
        same_tree: Seeds whose trees have equal hashes.
    """

    policy: str
    world: str
    seeds: int
    worst: float
    median: float
    off_s: float
    on_s: float
    waste: float
    reward_calls: float
    same_tree: int

    @property
    def kept(self) -> bool:
        """Whether this row is as promised; times are compared to a hundredth."""
        return (
            round(self.worst, 2) >= LEAST_WORST
            and round(self.median, 2) >= LEAST_MEDIAN
            and self.same_tree == self.seeds
        )

    def report(self) -> dict[str, object]:
        return rounded(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of the guesses whose probability was said to be about the same.

    Attributes:
        said: Their mean probability when they were begun.
        hit: The share that the search demanded.
        guesses: How many there were.
    """

    said: float
    hit: float
    guesses: int

    def report(self) -> dict[str, object]:
        return rounded(asdict(self))


class Guesses:
    """Writes down with what probability a budget lets each guess begin."""

    def __init__(self, budget: Budget) -> None:
        self.launched: list[tuple[str, Path, float]] = []
        begin = budget.begin

        def noted(
            searcher: Searcher,
            path: Path,
            request: Request,
            probability: float = 1.0,
            *,
            calls: int = 1,
        ) -> None:
            if not request.demanded and "/thought-" in request.id:
                self.launched.append((request.id.partition("/")[0], path, probability))
            begin(searcher, path, request, probability, calls=calls)

        budget.begin = noted  # type: ignore[method-assign]


Said = list[tuple[float, bool]]
"""Probabilities at which guesses were begun, each with whether it was demanded."""


def measure(
    policies: Sequence[str],
    worlds: Sequence[str],
    *,
    seeds: int,
    make: Callable[..., Policy] = make_policy,
    progress: Callable[[Promise], None] = lambda row: None,
) -> tuple[list[Promise], list[Calibration]]:
    """Run every policy in every world.

    Args:
        policies: Their names.
        worlds: Of `WORLDS`.
        seeds: Searches of each row, off and on.
        make: The policy of a name and sizes.
        progress: Told each row as it comes.

    Raises:
        SettingsError: There is no such policy or world.

    Example:
        >>> rows, _ = measure(["tot-dfs"], ["paper-7b"], seeds=1)
        >>> rows[0].world, rows[0].same_tree, rows[0].worst > 1
        ('paper-7b', 1, True)
    """
    cases = list(_cases(policies, worlds, seeds, make))
    said: Said = []
    rows = []
    for world, case in cases:
        rows.append(_row(world, case, said))
        progress(rows[-1])
    return rows, calibration(said)


def calibration(said: Iterable[tuple[float, bool]]) -> list[Calibration]:
    """What was said and what came, in ten classes; those that are empty are left out.

    Example:
        >>> calibration([(0.91, True), (0.93, False)])
        [Calibration(said=0.92, hit=0.5, guesses=2)]
    """
    classes: dict[int, Said] = {}
    for one in said:
        classes.setdefault(min(9, int(10 * one[0])), []).append(one)
    return [
        Calibration(
            said=fmean(probability for probability, _ in members),
            hit=fmean(hit for _, hit in members),
            guesses=len(members),
        )
        for _, members in sorted(classes.items())
    ]


def _cases(
    policies: Sequence[str], worlds: Sequence[str], seeds: int, make: Callable[..., Policy]
) -> Iterator[tuple[str, Case]]:
    for world in worlds:
        if world not in WORLDS:
            raise SettingsError(f"world={world!r}: must be one of {', '.join(WORLDS)}")
        for policy in policies:
            chosen = make(policy, **SIZES.get(stated(policy)[0], {}))
            depth = depth_cap(policy)
            yield (
                world,
                replace(WORLDS[world], name=policy, policy=chosen, depth=depth, seeds=seeds),
            )


def _row(world: str, case: Case, said: Said) -> Promise:
    off, on, ratios = [], [], []
    plain, ahead = Ledger(), Ledger()
    same = 0
    for seed in range(case.seeds):
        without = searches(case, seed, [None] * case.queries)
        speculation = case.ahead()
        assert speculation.budget is not None  # noqa: S101 (narrowing)
        guesses = Guesses(speculation.budget)
        with_it = searches(case, seed, [speculation] * case.queries)
        said += _outcomes(guesses, with_it)
        same += without.hashes() == with_it.hashes()
        off.append(without.seconds)
        on.append(with_it.seconds)
        ratios.append(without.seconds / with_it.seconds)
        plain.add(without.ledger())
        ahead.add(with_it.ledger())
    return Promise(
        policy=case.label,
        world=world,
        seeds=case.seeds,
        worst=min(ratios),
        median=median(ratios),
        off_s=fmean(off),
        on_s=fmean(on),
        waste=ahead.waste_ratio,
        reward_calls=ahead.reward_calls / max(1, plain.reward_calls),
        same_tree=same,
    )


def _outcomes(guesses: Guesses, ran: Searches) -> Said:
    """Whether the guesses that were begun came to be in the trees."""
    trees = {f"query-{query}": result.tree for query, result in enumerate(ran.results)}
    return [(said, path in trees[run]) for run, path, said in guesses.launched]
