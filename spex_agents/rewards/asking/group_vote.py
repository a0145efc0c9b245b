"""Which of these is best? A model compares the thoughts that a decision demands, and votes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import RewardError, at_least_one
from spex_agents.rewards.asking.prompts import fill
from spex_agents.rewards.asking.replies import check_otherwise, last_line, readings
from spex_agents.search.tree import Thought

_NUMBER = re.compile(r"\d+")

VOTE_PROMPT = Prompt(
    (
        Message(
            "system",
            "You compare beginnings of solutions. Say in a few words what is good or bad about "
            "each, then end with a line: The best choice is N.",
        ),
        Message(
            "user",
            "Question:\n{question}\n\n{choices}\n\n"
            "Which choice is the most likely to lead to the right answer? "
            "End with a line: The best choice is N.",
        ),
    )
)
"""What a `GroupVote` asks."""


@dataclass(frozen=True, slots=True)
class GroupVote:
    """The share of the votes for a path, when a model sees all paths that a decision demands.

    One that is alone in its group has all votes, and no model is asked. A vote whose last line does
    not name exactly one of the choices is asked for once more, with another seed, and left out if
    that says no more.

    Source: Yao et al., 2023, "Tree of Thoughts" (https://arxiv.org/abs/2305.10601): the vote of its
    creative writing task, 5 votes.

    Attributes:
        engine: Who votes: the search's own engine, or another.
        prompt: What it is asked. In its messages and its reply ``{question}`` and ``{choices}`` are
            filled in: the steps of each path, a line each, headed "Choice 1:" and so on.
        samples: Votes.
        sampling: How their tokens are drawn.
        max_tokens: Tokens of a vote.
        otherwise: The score of each path if no vote can be read; None raises an error.

    Raises:
        SettingsError: `samples` or `max_tokens` is below 1.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> vote = GroupVote(SimulatedEngine())
        >>> alone = [[Thought(text="2 + 2 = 4.", tokens=8)]]
        >>> run_virtual(vote.score_group("What is 2 + 2?", alone, Request(id="r", seed=7)))
        [1.0]
    """

    engine: Engine
    prompt: Prompt = VOTE_PROMPT
    samples: int = field(default=5, kw_only=True)
    sampling: Sampling = field(default=Sampling(temperature=0.7, top_p=1, top_k=0), kw_only=True)
    max_tokens: int = field(default=512, kw_only=True)
    otherwise: float | None = field(default=None, kw_only=True)
    name: str = field(default="group-vote", kw_only=True)
    needs_logprobs: bool = field(default=False, kw_only=True)
    pure: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", as_engine(self.engine))
        at_least_one(samples=self.samples, max_tokens=self.max_tokens)
        check_otherwise(self.otherwise)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score a path that is alone: 1."""
        return (await self.score_group(question, [thoughts], request))[0]

    async def score_group(
        self, question: str, group: Sequence[Sequence[Thought]], request: Request
    ) -> list[float]:
        """Score each path of `group` by its share of the votes.

        Raises:
            RewardError: No vote can be read, and `otherwise` is None.
            EngineError: A vote could not be written; the others are aborted.
        """
        if len(group) == 1:
            return [1.0]

        choices = "\n\n".join(
            f"Choice {number}:\n" + "\n".join(thought.text for thought in thoughts)
            for number, thoughts in enumerate(group, 1)
        )
        allowed = {str(number) for number in range(1, len(group) + 1)}

        def read(reply: str) -> int | None:
            named = set(_NUMBER.findall(last_line(reply)))
            return int(named.pop()) - 1 if len(named) == 1 and named <= allowed else None

        said = await readings(
            self.engine,
            fill(self.prompt, {"question": question, "choices": choices}),
            request,
            samples=self.samples,
            read=read,
            sampling=self.sampling,
            max_tokens=self.max_tokens,
        )
        if said:
            votes = Counter(said)
            return [votes[index] / len(said) for index in range(len(group))]
        if self.otherwise is None:
            raise RewardError(
                f"{self.engine.name} votes for none of {len(group)} choices: choose a prompt= that "
                "makes it end with the number of one, or otherwise= for such groups"
            )
        return [self.otherwise] * len(group)
