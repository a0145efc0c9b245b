"""How settled an answer is: the share of further samples that come to the same one.

Source: the reward of rStar (Qi et al., 2024), a leaf's votes over all votes. There a leaf is the
answer that most of 32 samples give (10 for a sub-question), and its reward their share; here it is
one sample, and its reward the share of further ones that give its answer. Either way the reward is
a function of the path and a seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from spex_agents.answers.classes import same
from spex_agents.answers.equivalence import formed, written
from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.answers.forms import Form
from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.rewards.parts import in_parts
from spex_agents.search.tree import Thought, derive_seed


@dataclass(frozen=True, slots=True)
class VoteConfidence:
    """Self-consistency: `samples` completions, and how many of them agree.

    A path that has ended is sampled again from before its last thought, and scores the share of
    completions that give its own answer; 0 if it has none. Any other path is sampled to its end,
    and scores the share of the most common answer. Completions without an answer agree with none.

    Attributes:
        engine: Who completes: the search's own engine, as a rule.
        samples: Completions of a path.
        sampling: How their tokens are drawn; they run to the model's stop, whatever `stop` says.
        template: The search's own.
        max_tokens: Tokens of one completion.
        extract: Finds an answer in a path's text: the search's own.

    Raises:
        SettingsError: `samples` or `max_tokens` is below 1, or the sampling is greedy.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> reward = VoteConfidence(SimulatedEngine(), samples=4)
        >>> thought = Thought(text="Step 1, quality 0.900000.", tokens=9)
        >>> run_virtual(reward.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.75
    """

    engine: Engine
    samples: int = field(default=8, kw_only=True)
    sampling: Sampling = field(default=Sampling(), kw_only=True)
    template: PromptTemplate = field(default=PromptTemplate(), kw_only=True)
    max_tokens: int = field(default=1024, kw_only=True)
    extract: Extract = field(default=extract_answer, kw_only=True)
    name: str = field(default="votes", kw_only=True)
    needs_logprobs: bool = field(default=False, kw_only=True)
    pure: bool = field(default=True, kw_only=True)
    seeded: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", as_engine(self.engine))
        at_least_one(samples=self.samples, max_tokens=self.max_tokens)
        if self.sampling.temperature == 0:
            raise SettingsError("temperature=0: completions would all be the same; raise it")

    @property
    def calls(self) -> int:
        """Requests at a time."""
        return self.samples

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            EngineError: A completion could not be written; the others are aborted.
        """
        own = None
        if thoughts[-1].ends:
            text = self.template.prompt(question, thoughts).reply
            own = await self._answer(text, thoughts[-1])
            if own is None:
                return 0.0
            thoughts = thoughts[:-1]
        prompt = self.template.prompt(question, thoughts)
        sampling = replace(self.sampling, stop=(), logprobs=False)

        async def vote(index: int, part: Request) -> tuple[str, Form] | None:
            thought = await self.engine.generate(
                prompt, part, sampling=sampling, max_tokens=self.max_tokens
            )
            return await self._answer(prompt.reply + thought.text, thought)

        seeds = [derive_seed(request.seed, (index,), "vote") for index in range(self.samples)]
        answers = await in_parts(request, seeds, vote)
        votes = [answer for answer in answers if answer is not None]
        if own is not None:
            return sum(same(form, own[1]) for _, form in votes) / self.samples
        labels = written([answer for answer, _ in votes], [form for _, form in votes])
        return max(Counter(labels).values(), default=0) / self.samples

    async def _answer(self, text: str, last: Thought) -> tuple[str, Form] | None:
        if (answer := found_in(self.extract, text, cut=last.finish == "length")) is None:
            return None
        return answer, await formed(answer)
