"""Step one: the small model's own solutions of running totals, and which of them came out right.

``python -m examples.train_reward.collect --out solutions.jsonl`` writes problem by problem: end it
whenever you like, the same command goes on where it was. None of the problems is among those of the
accuracy table.
"""

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from examples.train_reward.labels import Solution
from spex_agents import BestOfN, demo, make_engine, solve
from spex_agents.answers import equivalent, extract_answer
from spex_agents.engines import Engine
from spex_agents.problems import Stated
from spex_agents.problems.weekday_sums import weekday_sums

EVERY = 111
"""Running totals there are, apart from the one that the prompt shows."""

IN_FLIGHT = 4
"""Problems at once."""


def training_problems() -> list[Stated]:
    """All that the accuracy table does not ask."""
    asked = {problem.question for problem in weekday_sums()}
    return [problem for problem in weekday_sums(1, EVERY) if problem.question not in asked]


def kept(out: Path, samples: int) -> list[Solution]:
    """What an earlier call wrote, of the problems that it came to the end with.

    Args:
        out: Where it wrote.
        samples: Solutions of each problem.
    """
    rows: dict[str, list[Solution]] = defaultdict(list)
    for line in out.read_text().splitlines() if out.exists() else ():
        with suppress(json.JSONDecodeError):  # it was ended in the middle of a line
            row: Solution = json.loads(line)
            rows[row["question"]].append(row)
    return [row for whole in rows.values() if len(whole) == samples for row in whole]


async def collect(
    engine: Engine,
    problems: list[Stated],
    samples: int,
    keep: Callable[[list[Solution]], None],
    done: Container[str] = (),
) -> None:
    """Solve each problem several times.

    Args:
        engine: Writes.
        problems: What is asked.
        samples: Solutions of each.
        keep: Told the solutions of a problem as soon as they are there.
        done: Questions that need no more.
    """
    search = replace(
        demo.config(engine), policy=BestOfN(width=samples), termination=None, speculation=None
    )
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(seed: int, problem: Stated) -> None:
        async with gate:
            result = await solve(search, problem.question, seed=seed, run=f"collect-{seed}")
        rows: list[Solution] = []
        for path in result.tree.leaves():
            text = "\n".join(thought.text for thought in result.tree.chain(path))
            steps = [line.strip() for line in text.splitlines() if line.strip()]
            answer = extract_answer(steps[-1])
            right = answer is not None and equivalent(answer, problem.answer)
            rows.append(Solution(question=problem.question, steps=steps, right=right))
        print(
            f"{seed + 1} of {len(problems)}: {sum(row['right'] for row in rows)} right", flush=True
        )
        keep(rows)

    await asyncio.gather(
        *(
            one(seed, problem)
            for seed, problem in enumerate(problems)
            if problem.question not in done
        )
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("solutions.jsonl"))
    parser.add_argument("--problems", type=int, default=40, help="how many, at most 71")
    parser.add_argument("--samples", type=int, default=16, help="solutions of each")
    parser.add_argument("--engine", default="embedded", help="or a server's address")
    parser.add_argument("--model", help="a GGUF file, or the server's name of its model")
    given = parser.parse_args()
    problems = training_problems()[: given.problems]
    async with make_engine(given.engine, given.model, None) as engine:
        rows = kept(given.out, given.samples)
        with given.out.open("w") as out:

            def keep(rows: list[Solution]) -> None:
                out.writelines(json.dumps(row) + "\n" for row in rows)
                out.flush()

            keep(rows)
            await collect(engine, problems, given.samples, keep, {row["question"] for row in rows})


if __name__ == "__main__":
    asyncio.run(main())
