"""A reward as the probability of being right, learnt from searches whose answers are known.

Source: Platt, 1999, "Probabilistic outputs for support vector machines": a logistic regression of
the outcome on the score; here on one or several, with a ridge term in place of smoothed outcomes.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from spex_agents.answers.equivalence import equivalent
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError
from spex_agents.rewards.base import Reward
from spex_agents.rewards.combining.ensemble import Ensemble, Members, check_rewards
from spex_agents.rewards.combining.logistic import dot, minimise, sigmoid
from spex_agents.rewards.parts import in_parts
from spex_agents.search.tree import Thought, Tree, derive_seed


class Outcome(NamedTuple):
    """The rewards of one path, and whether its answer is right.

    Example:
        >>> Outcome((0.9, 1.0), right=True).right
        True
    """

    rewards: tuple[float, ...]
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """P(right) = 1 / (1 + exp(-(intercept + sum of weight x reward))).

    Attributes:
        weights: One for each reward.
        intercept: The logit where all rewards are 0.

    Example:
        >>> rows = [Outcome((score / 10,), right=score > 6) for score in range(11)]
        >>> calibration = Calibration.fit(rows)
        >>> [round(calibration.probability([score]), 2) for score in (0.1, 0.6, 0.9)]
        [0.1, 0.44, 0.73]
    """

    weights: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, rows: Iterable[Outcome], *, ridge: float = 0.1) -> Calibration:
        """The most probable coefficients, found by Newton's method from 0.

        Args:
            rows: What came of paths.
            ridge: Added to the loss is ``ridge / 2`` times the sum of all squared coefficients. It
                counts less the more rows there are, and keeps them finite where all rows are right,
                all wrong, or told apart without a mistake.

        Raises:
            SettingsError: There is no row, the rows differ in length or hold no rewards, a reward
                is not finite, or `ridge` is not above 0.
        """
        if not 0 < ridge < math.inf:
            raise SettingsError(f"ridge={ridge!r}: must be above 0, and finite")
        outcomes = [Outcome(tuple(rewards), bool(right)) for rewards, right in rows]
        sizes = {len(row.rewards) for row in outcomes}
        if len(sizes) != 1 or sizes == {0}:
            raise SettingsError(
                f"rows: have {sorted(sizes)} rewards; give at least one row, all of the same number"
            )
        for row in outcomes:
            if not all(map(math.isfinite, row.rewards)):
                raise SettingsError(f"rows: {row.rewards!r} is not finite")
        inputs = [(1.0, *row.rewards) for row in outcomes]
        intercept, *weights = minimise(inputs, [float(row.right) for row in outcomes], ridge)
        return cls(weights=tuple(weights), intercept=intercept)

    def probability(self, rewards: Sequence[float]) -> float:
        """The probability that a path of these rewards is right."""
        return sigmoid(self.intercept + dot(self.weights, rewards))

    def save(self, file: Path | str) -> None:
        """Write it as JSON."""
        Path(file).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path | str) -> Calibration:
        """Read what `save` wrote.

        Raises:
            SettingsError: There is no such file, or it holds something else.
        """
        try:
            read = json.loads(Path(file).read_text(encoding="utf-8"))
            weights = tuple(map(float, read["weights"]))
            intercept = float(read["intercept"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{file}: is no calibration that was saved: {error!r}") from error
        if not all(map(math.isfinite, (*weights, intercept))):
            raise SettingsError(f"{file}: has coefficients that are not finite")
        return cls(weights=weights, intercept=intercept)


@dataclass(frozen=True)
class Calibrated(Members):
    """The calibrated probability of being right, out of one or several rewards asked for at once.

    Attributes:
        rewards: The rewards, in the order of the rows that the calibration was fitted to.
        calibration: What they are worth.

    Raises:
        SettingsError: There is no reward, or another number of them than weights.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.rewards.simulated import SimulatedReward
        >>> flat = Calibration(weights=(4.0,), intercept=-2.0)
        >>> thought = Thought(text="Step 1, quality 0.500000.", tokens=9)
        >>> reward = Calibrated((SimulatedReward(),), flat)
        >>> run_virtual(reward.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.5
    """

    rewards: tuple[Reward, ...]
    calibration: Calibration

    def __post_init__(self) -> None:
        object.__setattr__(self, "rewards", check_rewards(self.rewards))
        if len(self.calibration.weights) != len(self.rewards):
            raise SettingsError(
                f"calibration of {len(self.calibration.weights)} rewards, given "
                f"{len(self.rewards)}: pass those that it was fitted to, in their order"
            )

    @property
    def name(self) -> str:
        return f"calibrated {', '.join(reward.name for reward in self.rewards)}"

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: A reward failed; the others are cancelled.
            EngineError: As a reward's own.
        """
        return self.calibration.probability(await self.scores(question, thoughts, request))


def outcomes(
    result: Mapping[str, Any], right: str, *, extract: Extract = extract_answer
) -> list[Outcome]:
    """The leaves of one search, from what ``spex solve --json`` printed.

    Leaves without an answer count as wrong; those without a reward are left out.

    Args:
        result: The object that was printed.
        right: The right answer.
        extract: Finds an answer in a path's text: the search's own.

    Example:
        >>> leaf = {"path": [0], "text": "The answer is 4.", "ends": True, "reward": 0.7}
        >>> outcomes({"tree": [leaf]}, "4.0")
        [Outcome(rewards=(0.7,), right=True)]
    """
    texts = {tuple(row["path"]): row["text"] for row in result["tree"]}
    rows = []
    for row in result["tree"]:
        if row["ends"] and row["reward"] is not None:
            path = tuple(row["path"])
            steps = [texts[path[:end]] for end in range(1, len(path) + 1)]
            rows.append(Outcome((row["reward"],), _is_right(steps, right, extract)))
    return rows


async def outcomes_of(
    tree: Tree, right: str, rewards: Sequence[Reward], *, extract: Extract = extract_answer
) -> list[Outcome]:
    """The leaves of one search, each scored by all of `rewards`: rows for a mixture.

    Args:
        tree: The tree of a finished search.
        right: The right answer.
        rewards: What to score the leaves by, all at once.
        extract: Finds an answer in a path's text: the search's own.

    Raises:
        SettingsError: There is no reward, or one is none.
        RewardError: A reward failed; the others are cancelled.
        EngineError: As a reward's own.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.rewards import Calculator, SimulatedReward
        >>> leaf = Thought(text="2 + 2 = 4, quality 0.5. The answer is 4", tokens=9, ends=True)
        >>> tree = Tree("What is 2 + 2?").with_thoughts({(0,): leaf})
        >>> run_virtual(outcomes_of(tree, "4", [Calculator(), SimulatedReward()]))
        [Outcome(rewards=(1.0, 0.5), right=True)]
    """
    members = Ensemble(tuple(rewards))
    leaves = list(tree.leaves())

    async def row(index: int, part: Request) -> Outcome:
        chain = tree.chain(leaves[index])
        scores = await members.scores(tree.question, chain, part)
        steps = [thought.text for thought in chain]
        is_right = await asyncio.to_thread(_is_right, steps, right, extract)
        return Outcome(tuple(scores), is_right)

    seeds = [derive_seed(tree.seed, leaf, "reward") for leaf in leaves]
    return await in_parts(Request(id=uuid4().hex, seed=tree.seed), seeds, row)


def _is_right(steps: Sequence[str], right: str, extract: Extract) -> bool:
    answer = extract("\n".join(steps))
    return answer is not None and equivalent(answer, right)
