"""One to many servers behind a router, with as many searches on each, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from statistics import fmean

from spex_agents.bench.case import Case
from spex_agents.bench.figures import rounded
from spex_agents.bench.searches import Searches, searches
from spex_agents.engines.simulated.fleet import Routing
from spex_agents.errors import at_least_one
from spex_agents.speculation.config import Speculation


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRow:
    """One policy on one number of servers.

    Attributes:
        queries: Searches at the same time, on all servers together.
        seeds: Runs of all of them.
        off_s: Mean seconds of a search without speculation.
        on_s: The same with it.
        speedup: off_s / on_s.
        efficiency: on_s of the fewest servers in the table / on_s.
        read_off: Tokens of prompts read for each token of the tree, without speculation.
        read_on: The same with it.
        same_tree: Runs in which all trees of off and on have equal hashes.
    """

    policy: str
    workers: int
    routing: Routing
    queries: int
    seeds: int
    off_s: float
    on_s: float
    speedup: float
    efficiency: float
    read_off: float
    read_on: float
    same_tree: int

    def report(self) -> dict[str, object]:
        return rounded(asdict(self))


def scaling(
    cases: Sequence[Case],
    *,
    workers: Sequence[int],
    routings: Sequence[Routing],
    queries: int,
    progress: Callable[[ScalingRow], None] = lambda row: None,
) -> Iterator[ScalingRow]:
    """Run each case on each number of servers by each way of routing.

    Args:
        cases: What is searched with; their `seeds` are the runs on one server, so many fewer on
            more (at least one): each row comes of about as many searches.
        workers: Numbers of servers.
        routings: Ways of routing.
        queries: Searches for each server. So many share a budget of one server's slots: clients
            know nothing of each other.
        progress: Told each row.

    Raises:
        SettingsError: A number is below 1.
    """
    at_least_one(queries=queries)
    for case, routing in product(cases, routings):
        fewest: ScalingRow | None = None
        for number in workers:
            at_least_one(workers=number)
            fleet = replace(
                case,
                replicas=number,
                routing=routing,
                queries=number * queries,
                seeds=max(1, case.seeds // number),
            )
            row = _measure(fleet, queries)
            fewest = fewest or row
            row = replace(row, efficiency=fewest.on_s / row.on_s)
            progress(row)
            yield row


def _measure(case: Case, queries: int) -> ScalingRow:
    runs = []
    for seed in range(case.seeds):
        clients = [case.ahead() for _ in range(case.replicas)]
        ahead: list[Speculation | None] = [client for client in clients for _ in range(queries)]
        off = searches(case, seed, [None] * case.queries)
        runs.append((off, searches(case, seed, ahead)))
    off_s = fmean(ended for off, _ in runs for ended in off.finished)
    on_s = fmean(ended for _, on in runs for ended in on.finished)
    return ScalingRow(
        policy=case.label,
        workers=case.replicas,
        routing=case.routing or "prefix",
        queries=case.queries,
        seeds=case.seeds,
        off_s=off_s,
        on_s=on_s,
        speedup=off_s / on_s,
        efficiency=1.0,
        read_off=_read([off for off, _ in runs]),
        read_on=_read([on for _, on in runs]),
        same_tree=sum(off.hashes() == on.hashes() for off, on in runs),
    )


def _read(runs: Sequence[Searches]) -> float:
    return sum(run.read_tokens for run in runs) / sum(run.ledger().useful_tokens for run in runs)
