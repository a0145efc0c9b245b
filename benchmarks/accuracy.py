"""What a search is worth in right answers, at equal numbers of decoded tokens.

``python -m benchmarks.accuracy`` prints a table; ``--json FILE`` keeps the rows of every problem.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from time import perf_counter

from rich.console import Console
from rich.table import Table

from spex_agents import BestOfN, Rebase, SearchConfig, demo, make_engine, solve
from spex_agents.answers import Ballot, counted, elect, equivalent, extract_answer
from spex_agents.bench.figures import wilson
from spex_agents.engines import Engine, Request
from spex_agents.problems import Stated, read_problems
from spex_agents.rewards import Confidence, Reward
from spex_agents.rewards.asking.process import ProcessReward
from spex_agents.rewards.asking.profiles import SKYWORK
from spex_agents.search import Tree
from spex_agents.speculation import Result

PROBLEMS = Path(__file__).parents[1] / "examples" / "data" / "weekday_sums.jsonl"
IN_FLIGHT = 32  # requests, about: twice the embedded engine's slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often a method is right.

    Attributes:
        method: Its name.
        right: Right answers.
        problems: Out of how many.
        low: Lower end of the share's Wilson interval of 95 %.
        high: Its upper end.
        tokens: Decoded for a problem, mean.
    """

    method: str
    right: int
    problems: int
    low: float
    high: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Share):
    """One method over all problems.

    Attributes:
        answers: The elected answer to each problem.
    """

    answers: tuple[str | None, ...]


async def run(
    config: SearchConfig, problems: Sequence[Stated], name: str, *, width: int
) -> list[Result]:
    """Solve every problem, its number in the file being its seed."""
    gate = asyncio.Semaphore(max(1, IN_FLIGHT // width))

    async def one(seed: int, problem: Stated) -> Result:
        async with gate:
            return await solve(config, problem.question, seed=seed, run=f"{name}-{seed}")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(seed, problem)) for seed, problem in enumerate(problems)]
    return [task.result() for task in tasks]


def row(
    method: str,
    problems: Sequence[Stated],
    results: Sequence[Result],
    answers: Sequence[str | None] | None = None,
) -> Row:
    given = tuple(result.answer for result in results) if answers is None else tuple(answers)
    pairs = zip(given, problems, strict=True)
    right = sum(
        answer is not None and equivalent(answer, problem.answer) for answer, problem in pairs
    )
    low, high = wilson(right, len(problems))
    tokens = round(fmean(result.ledger.decoded_tokens for result in results), 1)
    return Row(
        method=method,
        right=right,
        problems=len(problems),
        low=low,
        high=high,
        tokens=tokens,
        answers=given,
    )


async def vote(tree: Tree, reward: Reward | None) -> str | None:
    """Elect among whole answers by another reward than the search's; by majority without one."""
    answers, weights = [], []
    for path in tree.leaves():
        if (answer := extract_answer(tree.thought(path).text)) is not None:
            request = Request(id="vote", seed=0)
            weight = await reward.score(tree.question, tree.chain(path), request) if reward else 1.0
            answers.append(answer)
            weights.append(weight)
    return elect(map(Ballot, await counted(answers), weights), "weighted")


async def measure(
    engine: Engine, problems: Sequence[Stated], width: int, trained: Reward | None = None
) -> list[Row]:
    """Greedy decoding, the search, and best-of-n with n such that it decodes as many tokens.

    Args:
        engine: Writes.
        problems: What is asked.
        width: Of the search.
        trained: A reward model, for two rows more.
    """
    confidence = Confidence()
    search = replace(
        demo.config(engine), policy=Rebase(width=width), termination=None, speculation=None
    )
    once = replace(
        search, policy=BestOfN(width=1), sampling=replace(search.sampling, temperature=0)
    )
    greedy = row("greedy", problems, await run(once, problems, "greedy", width=1))
    rebase = row(f"REBASE {width}", problems, await run(search, problems, "rebase", width=width))
    n = max(1, round(rebase.tokens / greedy.tokens))
    # The same samples serve three votes: they differ in the weight of a leaf only.
    many = replace(
        search, policy=BestOfN(width=n), sampling=replace(search.sampling, logprobs=True)
    )
    best = await run(many, problems, "best", width=n)
    most = [await vote(result.tree, None) for result in best]
    surest = [await vote(result.tree, confidence) for result in best]
    sure = replace(search, reward=confidence)
    rows = []
    if trained is not None:
        scored = [await vote(result.tree, trained) for result in best]
        led = await run(replace(search, reward=trained), problems, "trained", width=width)
        rows = [
            row(f"best of {n}, trained reward", problems, best, scored),
            row(f"REBASE {width}, trained reward", problems, led),
        ]
    return [
        greedy,
        row(f"best of {n}, majority", problems, best, most),
        row(f"best of {n}, confidence", problems, best, surest),
        row(f"best of {n}, calculator", problems, best),
        row(
            f"REBASE {width}, confidence", problems, await run(sure, problems, "sure", width=width)
        ),
        replace(rebase, method=f"REBASE {width}, calculator"),
        *rows,
    ]


def show(rows: Sequence[Row], title: str) -> None:
    table = Table("method", title=title)
    for heading in ("right", "share", "95 % interval", "tokens a problem"):
        table.add_column(heading, justify="right")
    for line in rows:
        table.add_row(
            line.method,
            f"{line.right} / {line.problems}",
            f"{line.right / line.problems:.0%}",
            f"{line.low:.0%} to {line.high:.0%}",
            f"{line.tokens:.0f}",
        )
    Console().print(table)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=Path, default=PROBLEMS, help="JSONL: question, answer")
    parser.add_argument("--limit", type=int, default=32, help="use the first so many")
    parser.add_argument("--engine", default="embedded", help="or a server's address")
    parser.add_argument("--model", help="a GGUF file, or the server's name of its model")
    parser.add_argument(
        "--reward-engine", help="address of a reward model, as examples/train_reward makes one"
    )
    parser.add_argument("--width", type=int, default=8, help="of the search")
    parser.add_argument("--json", type=Path, help="write the rows there")
    given = parser.parse_args()
    found = (one for one in read_problems(given.problems) if isinstance(one, Stated))
    problems = tuple(found)[: given.limit]
    begun = perf_counter()
    async with make_engine(given.engine, given.model, None) as engine:
        trained = ProcessReward(given.reward_engine, SKYWORK) if given.reward_engine else None
        rows = await measure(engine, problems, given.width, trained)
        if trained is not None:
            await trained.aclose()
        name, exactness = engine.name, engine.features.exactness
    show(rows, f"{name}, {given.problems.stem}")
    seconds = round(perf_counter() - begun)
    print(f"{seconds} s; seeds are {exactness}")
    if given.json:
        report = {
            "engine": name,
            "exactness": exactness,
            "problems": given.problems.name,
            "seconds": seconds,
            "rows": [asdict(line) for line in rows],
        }
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
