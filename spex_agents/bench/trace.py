"""Recording what a real model writes in a search, and scoring it again when it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.trace import Recorded, TraceWorld, digest_before
from spex_agents.errors import at_least_one, at_least_zero
from spex_agents.rewards.base import check_reward, check_single
from spex_agents.rewards.simulated import delay
from spex_agents.search.tree import Path, Thought, Tree, chain_of, derive_seed
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.questions import check_question
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end

SHIPPED = "arithmetic.jsonl"
"""SmolLM2-135M-Instruct on sums, REBASE of width 8, each thought scored by its confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReward:
    """The recorded rewards, after a latency on the running loop's clock.

    Attributes:
        world: The trace.
        latency: Mean seconds.
        spread: Standard deviation of the latency's logarithm, drawn from the request's seed.

    Raises:
        SettingsError: A value is below 0.
    """

    world: TraceWorld
    latency: float = 0.05
    spread: float = 0.0
    name: str = "trace"
    needs_logprobs: bool = False
    pure: bool = True

    def __post_init__(self) -> None:
        at_least_zero(latency=self.latency, spread=self.spread)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: It is not of this trace.
        """
        await delay(self.latency, self.spread, request)
        return self.world.reward(question, thoughts)


def shipped_trace() -> TraceWorld:
    """The trace that comes with the package."""
    return TraceWorld.load(str(files("spex_agents.bench").joinpath("data", SHIPPED)))


async def record(
    config: SearchConfig,
    questions: Sequence[str],
    *,
    seeds: int = 1,
    progress: Callable[[str, int], None] = lambda question, thoughts: None,
) -> list[Recorded]:
    """Search for the answers of `questions` and keep every thought written, demanded or not.

    Args:
        config: What the searches are made of, with the default template.
        questions: What to answer.
        seeds: Searches for each question, with the seeds 0, 1, ...
        progress: Told the question and the number of its thoughts after each search.

    Raises:
        SettingsError: A question is empty, `seeds` is below 1, or the reward compares thoughts.
    """
    at_least_one(seeds=seeds)
    check_single(config.reward)
    trees = [
        Tree(check_question(question), seed) for seed in range(seeds) for question in questions
    ]
    recorded: list[Recorded] = []
    for number, tree in enumerate(trees):
        async with Session(config, tree, run=f"trace-{number}") as session:
            await run_to_end(session)
            rows = [await _recorded(session, path) for path in tuple(session.memo.thoughts)]
        recorded += rows
        progress(tree.question, len(rows))
    return recorded


async def _recorded(session: Session, path: Path) -> Recorded:
    chain = chain_of(session.memo.thoughts, path)
    tree, thought, reward = session.tree, chain[-1], session.memo.rewards.get(path)
    if reward is None:
        scorer = session.config.reward
        request = Request(
            id=f"{session.run}/{'.'.join(map(str, path))}/trace",
            seed=derive_seed(tree.seed, path, "reward"),
        )
        reward = check_reward(await scorer.score(tree.question, chain, request), scorer.name)
    return Recorded(
        question=tree.question,
        depth=len(path),
        before=digest_before(tree.question, chain[:-1]),
        seed=derive_seed(tree.seed, path),
        text=thought.text,
        tokens=thought.tokens,
        finish=thought.finish,
        logprob=round(fmean(thought.logprobs), 4) if thought.logprobs else None,
        reward=round(reward, 4),
    )
