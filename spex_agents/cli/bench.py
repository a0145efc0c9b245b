"""``spex bench``: how much sooner the same tree comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from json import dumps
from typing import Annotated, Any

import typer

from spex_agents.bench.questions import QUESTIONS
from spex_agents.bench.sim import DEPTHS, Case, Row, sweep
from spex_agents.bench.targets import TARGETS
from spex_agents.bench.trace import shipped_trace
from spex_agents.cli import AGGREGATE, ENGINE, SEARCH, exit_codes
from spex_agents.cli.choices import make_engine, make_reward
from spex_agents.engines.base import Sampling
from spex_agents.engines.trace import TraceWorld
from spex_agents.engines.world import World
from spex_agents.errors import SettingsError
from spex_agents.search import Limits, Policy
from spex_agents.search.registry import POLICIES, defaults, make_policy, sizes
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.termination import ExactStop, MarginStop, Stop

bench = typer.Typer(help="Measure: speculation off against on.", no_args_is_help=True)

STOPS: dict[str, Stop | None] = {"none": None, "exact": ExactStop(), "margin": MarginStop()}
SPECULATION, HARDWARE = "Speculation", "Hardware and world"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Engine = Annotated[
    str,
    typer.Option(
        help="embedded, simulated (in real time), or the address of an OpenAI-compatible server.",
        rich_help_panel=ENGINE,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="embedded: a GGUF file; server: the model's name.",
        show_default=False,
        rich_help_panel=ENGINE,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="Bearer token for the server.", envvar="SPEX_API_KEY", rich_help_panel=ENGINE
    ),
]
PolicyName = Annotated[str, typer.Option(help=f"{', '.join(POLICIES)}.", rich_help_panel=SEARCH)]
Width = Annotated[
    int | None,
    typer.Option(
        help=f"As of spex solve ({defaults('width')}).",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Rollouts = Annotated[
    int | None,
    typer.Option(
        help=f"As of spex solve ({defaults('rollouts')}).",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Depth = Annotated[int, typer.Option(help="Thoughts in a path, at most.", rich_help_panel=SEARCH)]
StepTokens = Annotated[
    int, typer.Option(help="Tokens of a thought, at most.", rich_help_panel=SEARCH)
]
Threshold = Annotated[
    float,
    typer.Option(help="Least probability of a thought begun early.", rich_help_panel=SPECULATION),
]
Draws = Annotated[
    int, typer.Option(help="Trees drawn for a forecast.", rich_help_panel=SPECULATION)
]
Waste = Annotated[
    float,
    typer.Option(
        help="Tokens that may be wasted for each useful one.", rich_help_panel=SPECULATION
    ),
]
RewardName = Annotated[
    str | None,
    typer.Option(help="As of spex solve.", show_default=False, rich_help_panel=SEARCH),
]


@bench.command()
def sim(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}; repeatable.", show_default=False, rich_help_panel=SEARCH
        ),
    ] = None,
    width: Width = None,
    rollouts: Rollouts = None,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Thoughts in a path, at most: 10, of rstar 5.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    queries: Annotated[
        list[int] | None,
        typer.Option(
            help="Searches at a time (1); repeatable.", show_default=False, rich_help_panel=SEARCH
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each case.", rich_help_panel=SEARCH)] = 20,
    stop: Annotated[
        str,
        typer.Option(
            help="End searches early: none, exact (lossless) or margin (SPEX's rule: lossy).",
            rich_help_panel=SEARCH,
        ),
    ] = "none",
    reward_latency: Annotated[
        list[float] | None,
        typer.Option(
            help="Seconds a reward takes (0.05); repeatable.",
            show_default=False,
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    reward_spread: Annotated[
        float, typer.Option(help="Sigma of its log-normal spread.", rich_help_panel=HARDWARE)
    ] = 0.0,
    preset: Annotated[
        str,
        typer.Option(help="paper-7b, a100-34b, h100-8b or cpu-135m.", rich_help_panel=HARDWARE),
    ] = "paper-7b",
    replicas: Annotated[
        int,
        typer.Option(help="Devices that share the requests evenly.", rich_help_panel=HARDWARE),
    ] = 1,
    acceptance_length: Annotated[
        float,
        typer.Option(
            help="Tokens a step yields by token-level speculative decoding, 1 (none) to 5.",
            rich_help_panel=HARDWARE,
        ),
    ] = 1.0,
    world: Annotated[
        str,
        typer.Option(
            help="Who writes the thoughts: synthetic, trace (recorded from a small model, comes "
            "with the package), or the file of a trace.",
            rich_help_panel=HARDWARE,
        ),
    ] = "synthetic",
    selector: Annotated[
        str, typer.Option(help="replay, or paper: SPEX's rule.", rich_help_panel=SPECULATION)
    ] = "replay",
    threshold: Threshold = Speculation().threshold,
    waste: Waste = Speculation().waste,
    draws: Draws = Speculation().draws,
    allocation: Annotated[
        str, typer.Option(help="benefit, or paper: SPEX's.", rich_help_panel=SPECULATION)
    ] = "benefit",
    capacity: Annotated[
        str,
        typer.Option(
            help="Requests in flight at which nothing more is begun early: a number, slots (as "
            "many as the hardware runs) or online (to be found).",
            rich_help_panel=SPECULATION,
        ),
    ] = "slots",
    json: Json = False,
) -> None:
    """On the virtual clock: off, on, and with perfect foresight.

    A row for each policy, number of queries and reward latency. Without these, --width, --rollouts
    and --depth: a row for each of the project's targets.
    """
    with exit_codes():
        from spex_agents.bench.report import show, sim_table  # noqa: PLC0415 (--help needs none)

        if stop not in STOPS:
            raise SettingsError(f"stop={stop!r}: must be one of {', '.join(STOPS)}")
        names = policy or ["rebase"]
        policies = _policies(names, width=width, rollouts=rollouts)
        base = Case(
            preset=preset,
            name=names[0],
            policy=policies[0],
            depth=10 if depth is None else depth,
            seeds=seeds,
            reward_spread=reward_spread,
            speculation=Speculation(
                selector=selector,  # type: ignore[arg-type]
                threshold=threshold,
                waste=waste,
                draws=draws,
            ),
            capacity=int(capacity) if capacity.isdecimal() else capacity,  # type: ignore[arg-type]
            allocation=allocation,  # type: ignore[arg-type]
            stop=STOPS[stop],
            world=_world(world),
            replicas=replicas,
            acceptance_length=acceptance_length,
        )
        targets = []
        if any((policy, queries, reward_latency)) or {width, rollouts, depth} != {None}:
            cases = [
                replace(
                    base,
                    name=name,
                    policy=chosen,
                    depth=DEPTHS.get(name, 10) if depth is None else depth,
                    queries=together,
                    reward_latency=latency,
                )
                for (name, chosen), latency, together in product(
                    zip(names, policies, strict=True), reward_latency or [0.05], queries or [1]
                )
            ]
        else:
            targets = list(TARGETS)
            cases = [target.case(base) for target in targets]
        rows = sweep(cases, _progress)
        if json:
            reports = [row.report() for row in rows]
            for report, target in zip(reports, targets, strict=False):
                report |= {"goal_speedup": target.speedup, "goal_oracle_share": target.share}
            settings = {
                "preset": preset,
                "world": world,
                "selector": selector,
                "threshold": threshold,
                "waste": waste,
                "draws": draws,
                "allocation": allocation,
                "capacity": capacity,
                "stop": rows[0].stop,
                "lossy": rows[0].lossy,
                "acceptance_length": acceptance_length,
                "reward_spread": reward_spread,
            }
            typer.echo(dumps({**settings, "rows": reports}))
        else:
            show(sim_table(rows, [target.goal() for target in targets]))


@bench.command()
def scaling(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}; repeatable. rstar and rebase if not given.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    width: Width = None,
    rollouts: Annotated[
        int | None,
        typer.Option(help="Of rstar: 10.", show_default=False, rich_help_panel=SEARCH),
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(
            help="Servers; repeatable. 1, 2, 4 ... 64 if not given.",
            show_default=False,
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    routing: Annotated[
        list[str] | None,
        typer.Option(
            help="prefix (as a cache-aware router) or least-load; repeatable. Both if not given.",
            show_default=False,
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(help="Searches at a time for each worker.", rich_help_panel=SEARCH)
    ] = 8,
    seeds: Annotated[
        int,
        typer.Option(
            help="Runs on one worker; on n of them one n-th as many, at least one.",
            rich_help_panel=SEARCH,
        ),
    ] = 4,
    preset: Annotated[
        str,
        typer.Option(help="paper-7b, a100-34b, h100-8b or cpu-135m.", rich_help_panel=HARDWARE),
    ] = "paper-7b",
    json: Json = False,
) -> None:
    """On the virtual clock: one to many servers with caches of their own, behind a router."""
    with exit_codes():
        from spex_agents.bench.report import scaling_table, show  # noqa: PLC0415 (as above)
        from spex_agents.bench.scaling import ScalingRow  # noqa: PLC0415 (as above)
        from spex_agents.bench.scaling import scaling as measure  # noqa: PLC0415 (as above)

        names = policy or ["rstar", "rebase"]
        policies = _policies(
            names, width=width, rollouts=rollouts or (10 if "rstar" in names else None)
        )
        cases = [
            Case(preset=preset, name=name, policy=chosen, depth=DEPTHS.get(name, 10), seeds=seeds)
            for name, chosen in zip(names, policies, strict=True)
        ]

        def progress(row: ScalingRow) -> None:
            told = f"{row.policy}, {row.routing}, {row.workers} workers: {row.on_s:.1f} s"
            typer.echo(told, err=True)

        rows = list(
            measure(
                cases,
                workers=workers or [1, 2, 4, 8, 16, 32, 64],
                routings=routing or ["prefix", "least-load"],  # type: ignore[arg-type]
                queries=queries,
                progress=progress,
            )
        )
        if json:
            report = {"preset": preset, "rows": [row.report() for row in rows]}
            typer.echo(dumps(report))
        else:
            show(scaling_table(rows, preset))


@bench.command()
def predictor(*, json: Json = False) -> None:
    """What foreseeing costs on trees of about a thousand thoughts, in milliseconds."""
    with exit_codes():
        from spex_agents.bench.predictor import SEARCHES, measure  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import cost_table, show  # noqa: PLC0415 (as above)

        costs = []
        for search, policy, depth in SEARCHES:
            costs.append(measure(search, policy, depth))
            typer.echo(f"{search}: {costs[-1].events} forecasts", err=True)
        if json:
            typer.echo(dumps({"rows": [cost.report() for cost in costs]}))
        else:
            show(cost_table(costs))


@bench.command()
def real(
    question: Annotated[
        list[str] | None,
        typer.Argument(help="Questions, taken in turn; a few sums by default.", show_default=False),
    ] = None,
    *,
    policy: PolicyName = "rstar",
    width: Width = None,
    rollouts: Rollouts = None,
    depth: Depth = 8,
    step_tokens: StepTokens = 64,
    pairs: Annotated[
        int, typer.Option(help="Searches off and on, in alternating order.", min=1)
    ] = 5,
    reward: RewardName = None,
    aggregate: Annotated[str, AGGREGATE] = "last",
    engine: Engine = "embedded",
    model: Model = None,
    api_key: ApiKey = None,
    draft_tokens: Annotated[
        int,
        typer.Option(
            help="Of the embedded engine: compare speculation of tokens, of thoughts, neither and "
            "both, with so many tokens drafted for a step; 0 leaves tokens out.",
            rich_help_panel=SPECULATION,
        ),
    ] = 0,
    threshold: Threshold = Speculation().threshold,
    waste: Waste = Speculation().waste,
    draws: Draws = Speculation().draws,
    json: Json = False,
) -> None:
    """On a running engine, in real seconds: off and on in turn.

    Only an engine whose throughput grows with its batch can gain; a small model on two cores
    hardly does.
    """
    with exit_codes():
        from spex_agents.bench.drafts import compare_drafts  # noqa: PLC0415 (as above)
        from spex_agents.bench.real import Pair, compare  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import draft_tables, real_table, show  # noqa: PLC0415

        chosen = make_policy(policy, width=width, rollouts=rollouts)
        label = f"{policy}-{getattr(chosen, 'rollouts', None) or _width(chosen)}"
        limits = Limits(depth=depth, step_tokens=step_tokens)
        ahead = Speculation(threshold=threshold, waste=waste, draws=draws)
        asked = question or QUESTIONS

        def config_of(opened: Any) -> SearchConfig:
            return search_config(opened, chosen, reward, limits, ahead, aggregate=aggregate)

        def progress(pair: Pair) -> None:
            typer.echo(f"off {pair.off_s:.1f} s, on {pair.on_s:.1f} s", err=True)

        async def run() -> Any:
            async with make_engine(engine, model, api_key) as plain:
                config = config_of(plain)
                if not draft_tokens:
                    return await compare(config, asked, label=label, pairs=pairs, progress=progress)
                async with make_engine(
                    engine, model, api_key, draft_tokens=draft_tokens
                ) as drafting:
                    return await compare_drafts(
                        config,
                        config_of(drafting),
                        asked,
                        label=label,
                        rounds=pairs,
                        progress=partial(typer.echo, err=True),
                    )

        comparison = asyncio.run(run())
        if json:
            typer.echo(dumps(comparison.report()))
        else:
            tables = draft_tables(comparison) if draft_tokens else [real_table(comparison)]
            for table in tables:
                show(table)


def search_config(
    engine: Any,
    policy: Policy,
    reward: str | None,
    limits: Limits,
    speculation: Speculation,
    *,
    aggregate: str = "last",
) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=policy,
        reward=make_reward(reward, engine, sampling=Sampling(), limits=limits, aggregate=aggregate),
        limits=limits,
        stop=None,
        speculation=speculation,
    )


def _policies(names: Sequence[str], **settings: int | None) -> list[Policy]:
    """The policies of one table; where there are several, each takes the settings it has."""
    if len(names) == 1:
        return [make_policy(names[0], **settings)]
    return [
        make_policy(
            name,
            **{setting: value for setting, value in settings.items() if setting in sizes(name)},
        )
        for name in names
    ]


def _world(name: str) -> World | None:
    match name:
        case "synthetic":
            return None
        case "trace":
            return shipped_trace()
        case file:
            return TraceWorld.load(file)


def _width(policy: Policy) -> int:
    return getattr(policy, "width", 1)


def _progress(row: Row) -> None:
    typer.echo(
        f"{row.label}, {row.queries} queries, reward {row.reward_latency:g} s: "
        f"{row.speedup:.2f} times as fast",
        err=True,
    )
