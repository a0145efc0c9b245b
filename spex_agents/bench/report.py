"""Tables for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spex_agents.bench.drafts import WAYS, DraftComparison
from spex_agents.bench.figures import several
from spex_agents.bench.never_slower import Calibration, Promise
from spex_agents.bench.predictor import LARGE, Cost
from spex_agents.bench.real import Comparison
from spex_agents.bench.scaling import ScalingRow
from spex_agents.bench.sim import Row
from spex_agents.bench.tally import Line

PIPE_WIDTH = 150  # columns where no terminal tells


def sim_table(rows: Sequence[Row], goals: Sequence[str] = ()) -> Table:
    """Rows of `spex bench sim`; a lossy termination rule is named as such."""
    first = rows[0]
    title = f"{first.preset}, {several(first.seeds, 'seed')}"
    if first.termination != "none":
        title += f", {first.termination}" + (" (lossy: answers may change)" if first.lossy else "")
    table = _table(title)
    heads = ["search", "queries", "reward s", "off s", "on s", "oracle s", "speed-up"]
    heads += ["goal"] if goals else []
    heads += ["of oracle", "hits", "waste", "slowed", "fair", "same tree"]
    heads += ["same answer"] if first.termination != "none" else []
    heads += ["resampled"] if any(row.synthesised for row in rows) else []
    for head in heads:
        table.add_column(head, justify="left" if head == "search" else "right")
    for index, row in enumerate(rows):
        replicas = row.preset.removeprefix(first.preset)
        cells = [
            row.search,
            f"{row.queries}{replicas and f' on{replicas}'}",
            f"{row.reward_latency:g}",
            f"{row.off_s:.1f}",
            f"{row.on_s:.1f}",
            f"{row.oracle_s:.1f}",
            f"{row.speedup:.2f}",
        ]
        cells += [goals[index]] if goals else []
        cells += [
            f"{row.oracle_share:.1%}",
            f"{row.hit_rate:.0%}",
            f"{row.waste_ratio:.2f}",
            f"{row.demanded_slowdown:.1%}",
            f"{row.fairness:.3f}",
            f"{row.same_tree}/{row.seeds}",
        ]
        cells += [f"{row.same_answer:.0%}"] if first.termination != "none" else []
        cells += [f"{row.synthesised:.0%}"] if "resampled" in heads else []
        table.add_row(*cells)
    return table


def promise_table(rows: Sequence[Promise]) -> Table:
    """Rows of `spex bench never-slower`."""
    table = _table(f"Never slower: seconds off / on, {several(rows[0].seeds, 'seed')}")
    heads = ["world", "search", "off s", "on s", "worst", "median", "waste", "reward calls"]
    for head in [*heads, "same tree", "kept"]:
        table.add_column(head, justify="left" if head in ("world", "search") else "right")
    for row in rows:
        table.add_row(
            row.world,
            row.policy,
            f"{row.off_s:.1f}",
            f"{row.on_s:.1f}",
            f"{row.worst:.2f}",
            f"{row.median:.2f}",
            f"{row.waste:.2f}",
            f"{row.reward_calls:.2f}",
            f"{row.same_tree}/{row.seeds}",
            "yes" if row.kept else "NO",
        )
    return table


def calibration_table(rows: Sequence[Calibration]) -> Table:
    """What was said of guesses when they were begun, and how many came true."""
    table = _table("Probabilities of guesses, as they were begun")
    for head in ("said", "hit", "guesses"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(f"{row.said:.2f}", f"{row.hit:.2f}", str(row.guesses))
    return table


def scaling_table(rows: Sequence[ScalingRow], preset: str) -> Table:
    """Rows of `spex bench scaling`."""
    table = _table(f"{preset} for each worker; seconds are means of a search")
    heads = ["search", "routing", "workers", "queries", "off s", "on s", "speed-up", "efficiency"]
    for head in [*heads, "read off", "read on", "same tree"]:
        table.add_column(head, justify="left" if head in ("search", "routing") else "right")
    for row in rows:
        table.add_row(
            row.policy,
            row.routing,
            str(row.workers),
            str(row.queries),
            f"{row.off_s:.1f}",
            f"{row.on_s:.1f}",
            f"{row.speedup:.2f}",
            f"{row.efficiency:.0%}",
            f"{row.read_off:.2f}",
            f"{row.read_on:.2f}",
            f"{row.same_tree}/{row.seeds}",
        )
    return table


def real_table(comparison: Comparison) -> Table:
    """Pairs of `spex bench real`, and what they come to."""
    table = _table(f"{comparison.label} on {comparison.engine}, {comparison.slots}")
    for head in ("pair", "off s", "on s", "ratio", "useful", "wasted", "tokens/s", "same tree"):
        table.add_column(head, justify="right")
    for number, pair in enumerate(comparison.pairs, 1):
        table.add_row(
            str(number),
            f"{pair.off_s:.2f}",
            f"{pair.on_s:.2f}",
            f"{pair.ratio:.2f}",
            str(pair.useful_tokens),
            str(pair.wasted_tokens),
            f"{pair.off_rate:.0f} -> {pair.on_rate:.0f}",
            "yes" if pair.same_tree else "no",
        )
    low, middle, high = comparison.spread()
    table.caption = Text(
        f"ratio {middle:.2f} (median), {low:.2f} to {high:.2f}; "
        f"{comparison.agreement:.0%} of the trees agree"
    )
    return table


def draft_tables(comparison: DraftComparison) -> list[Table]:
    """Rates and searches of `spex bench real --draft-tokens`."""
    drafts = f"{comparison.draft_tokens} tokens drafted for a step"
    rates = _table(f"{comparison.engine}, {drafts}")
    heads = ["requests", "tokens/s", "with drafts", "ratio", "tokens a step", "right", "same text"]
    for head in heads:
        rates.add_column(head, justify="right")
    for rate in comparison.rates:
        rates.add_row(
            str(rate.requests),
            f"{rate.off:.0f}",
            f"{rate.on:.0f}",
            f"{rate.ratio:.2f}",
            f"{rate.per_step:.2f}",
            f"{rate.accepted:.0%}",
            "yes" if rate.same_texts else "no",
        )
    rounds = _table(f"{comparison.label}, seconds")
    for head in ("round", *WAYS, "same tree"):
        rounds.add_column(head, justify="right")
    for number, one in enumerate(comparison.rounds, 1):
        rounds.add_row(
            str(number),
            *(f"{one.seconds[way]:.2f}" for way in WAYS),
            "yes" if one.same_tree else "no",
        )
    rounds.caption = Text(
        "ratio (median): "
        + ", ".join(f"{way} {comparison.speedup(way):.2f}" for way in WAYS[1:])
        + f"; {comparison.agreement:.0%} of the trees agree"
    )
    return [rates, rounds]


def compare_table(lines: Sequence[Line], title: str) -> Table:
    """Lines of `spex compare`."""
    table = _table(title)
    heads = ["method", "right", "share", "95 % interval", "same tokens", "alone", "p"]
    heads += ["useful", "wasted", "hits", "off s", "on s", "speed-up", "same tree"]
    heads += ["failed"] if any(line.failed for line in lines) else []
    for head in heads:
        table.add_column(head, justify="left" if head == "method" else "right")
    for line in lines:
        cells = [
            line.method,
            f"{line.right}/{line.problems}",
            f"{line.share:.0%}",
            f"{line.low:.0%} to {line.high:.0%}",
            _known(line.control_right, "d"),
            "-" if line.alone is None else f"{line.alone} : {line.control_alone}",
            _known(line.p_value, ".3f"),
            f"{line.useful_tokens:.0f}",
            "-" if line.on_s is None else f"{line.wasted_tokens:.0f}",
            _known(line.hit_rate, ".0%"),
            f"{line.off_s:.2f}",
            _known(line.on_s, ".2f"),
            _known(line.speedup, ".2f"),
            _known(line.same_tree, ".0%"),
        ]
        table.add_row(*cells, *([str(line.failed)] if "failed" in heads else []))
    table.caption = Text(
        "useful, wasted, seconds: means a problem; same tokens: right answers of the majority of "
        "as many samples as decode what the search takes; alone: right where that is wrong : the "
        "other way round; p: of so large a difference, were there none (exact sign test)"
    )
    return table


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def cost_table(costs: Sequence[Cost]) -> Table:
    """Rows of `spex bench predictor`."""
    table = _table("Milliseconds of computing for a forecast")
    for head in ("search", "thoughts", "forecasts", "median", "large trees", "median", "p95"):
        table.add_column(head, justify="left" if head == "search" else "right")
    for cost in costs:
        table.add_row(
            cost.search,
            str(cost.thoughts),
            str(cost.events),
            f"{cost.median_ms:.2f}",
            str(cost.large_events),
            f"{cost.large_median_ms:.2f}",
            f"{cost.large_p95_ms:.2f}",
        )
    table.caption = f"large: {LARGE} thoughts or more"
    return table


def show(table: Table) -> None:
    """Print on standard output, as wide as the terminal, or wide enough for a file."""
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def gpu_table(report: Mapping[str, Any]) -> Table:
    """What `spex bench gpu` measured, as one table."""
    machine = report["machine"]
    where = ", ".join(machine["gpus"]) or machine["processor"]
    table = _table(f"{where}, SGLang {machine['sglang']}, {report['models']['policy']}")
    for head in ("measured", "at a time", "off", "on", "ratio", "lowest", "same tree", "waste"):
        table.add_column(head, justify="left" if head == "measured" else "right")
    for row in report["rows"]:
        gpus = f" on {row['gpus']} GPUs" if row["gpus"] > 1 else ""
        table.add_row(
            row["search"] + gpus,
            str(row["queries"]),
            f"{row['off_s']:.1f} s",
            f"{row['on_s']:.1f} s",
            f"{row['speedup']:.2f}",
            f"{row['lowest']:.2f}",
            f"{row['agreement']:.0%}",
            f"{row['waste']:.2f}",
        )
    for cost in report["sampler"]:
        table.add_row(
            f"seeds, {cost['settings']}",
            str(cost["batch"]),
            f"{1000 * cost['plain_seconds']:.2f} ms",
            f"{1000 * cost['seconds']:.2f} ms",
            f"{cost['plain_seconds'] / cost['seconds']:.2f}",
            "",
            "",
            "" if cost["megabytes"] is None else f"{cost['megabytes']:.0f} MB",
        )
    return table
