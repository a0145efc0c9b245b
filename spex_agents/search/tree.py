"""The tree of thoughts: plain frozen data. A node *is* its path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import takewhile
from operator import itemgetter
from random import Random
from typing import Literal, Protocol, TypeAlias

Path: TypeAlias = tuple[int, ...]
"""Which child of which child ...; ``()`` is the question itself."""

ROOT: Path = ()

Finish: TypeAlias = Literal["step", "stop", "length", "reasoning"]
"""Why a thought ended: at a step delimiter, because the model stopped, at its token cap, or before
the model had come from its reasoning to its reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """One reasoning step.

    Attributes:
        text: What the model wrote, without the step delimiter.
        tokens: How many tokens it decoded for it.
        finish: Why decoding ended.
        ends: Whether the path ends here (an answer, the model's stop, or a cap of the path).
        logprobs: Log-probability of each token (nats), or None where the engine gives none.
        reasoning: What the model reasoned before it wrote `text`, if that was kept. No answer and
            no stop string is looked for in it.
        reasoning_tokens: Those of `tokens` that are reasoning; they do not count for `Limits`.
        failed: Why the path failed here, or None: such a path has ended, and has no answer.
        same_as: The thought of the same decision that says the same, or None. A path that had ended
            votes, with that one's reward; another is left out, as if it had failed.

    Example:
        >>> Thought(text="5 + 7 = 12", tokens=6).ends
        False
    """

    text: str
    tokens: int
    finish: Finish = "step"
    ends: bool = False
    logprobs: tuple[float, ...] | None = None
    reasoning: str = ""
    reasoning_tokens: int = 0
    failed: str | None = None
    same_as: Path | None = None


class Critique(float):
    """A reward that says something of its thought besides: a number to whoever asks for one.

    Attributes:
        words: What is said, for the prompts of later tries.

    Example:
        >>> Critique(0.4, "The sign is wrong.") + 0.1
        0.5
    """

    __slots__ = ("words",)

    words: str

    def __new__(cls, value: float, words: str) -> Critique:
        critique = super().__new__(cls, value)
        critique.words = words
        return critique

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.words


def shared(one: Path, other: Path) -> Path:
    """What two paths have in common from the root on.

    Example:
        >>> shared((0, 1, 2), (0, 1, 3, 0))
        (0, 1)
    """
    pairs = zip(one, other, strict=False)
    return tuple(index for index, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class TreeView(Protocol):
    """What a policy may read: the committed tree, or a predicted one that looks the same.

    Example:
        >>> tree: TreeView = Tree("What is 5 + 7?", 1)
        >>> (0,) in tree
        False
    """

    @property
    def question(self) -> str: ...
    @property
    def seed(self) -> int: ...
    def __contains__(self, path: Path, /) -> bool: ...
    def thought(self, path: Path, /) -> Thought: ...
    def reward(self, path: Path, /) -> float:
        """The reward of a thought; ``KeyError`` where it has none."""
        ...

    def lost(self, path: Path, /) -> bool:
        """Whether the thought failed and has no reward: a search goes on as if it never was."""
        ...


@dataclass(frozen=True, slots=True)
class Tree:
    """The committed tree: thoughts and rewards by path, in the order of their commitment.

    Example:
        >>> tree = Tree("What is 2 + 2?", seed=7)
        >>> tree = tree.with_thoughts({(0,): Thought(text="It is 4.", tokens=4, ends=True)})
        >>> tree.with_rewards({(0,): 0.9}).reward((0,))
        0.9
    """

    question: str
    seed: int = 0
    thoughts: Mapping[Path, Thought] = field(default_factory=dict)
    rewards: Mapping[Path, float] = field(default_factory=dict)

    def __contains__(self, path: Path) -> bool:
        return path in self.thoughts

    def __len__(self) -> int:
        return len(self.thoughts)

    def thought(self, path: Path) -> Thought:
        return self.thoughts[path]

    def reward(self, path: Path) -> float:
        if path not in self.rewards and self.lost(path):
            return 0.0  # to a policy that asks for it all the same
        return self.rewards[path]

    def lost(self, path: Path) -> bool:
        return self.thoughts[path].failed is not None and path not in self.rewards

    def leaves(self) -> Iterator[Path]:
        """The paths that have ended and not failed, in the order of their commitment."""
        return (
            path
            for path, thought in self.thoughts.items()
            if thought.ends and thought.failed is None
        )

    def failures(self) -> dict[Path, str]:
        """The paths that have failed, each with its reason; not those that repeat others."""
        return {
            path: thought.failed
            for path, thought in self.thoughts.items()
            if thought.failed is not None and thought.same_as is None
        }

    def merged(self) -> dict[Path, Path]:
        """The paths that say the same as another of their decision, each with that one."""
        return {
            path: thought.same_as
            for path, thought in self.thoughts.items()
            if thought.same_as is not None
        }

    def chain(self, path: Path) -> tuple[Thought, ...]:
        """The thoughts from the question to `path`, both ends of the path included."""
        return chain_of(self.thoughts, path)

    def with_thoughts(self, thoughts: Mapping[Path, Thought]) -> Tree:
        return Tree(self.question, self.seed, {**self.thoughts, **thoughts}, self.rewards)

    def with_failures(self, failures: Mapping[Path, str]) -> Tree:
        """The tree in which these paths have failed, whether or not they have a thought."""
        nothing = Thought(text="", tokens=0)
        return self.with_thoughts(
            {
                path: replace(self.thoughts.get(path, nothing), ends=True, failed=reason)
                for path, reason in failures.items()
            }
        )

    def with_rewards(self, rewards: Mapping[Path, float]) -> Tree:
        return Tree(self.question, self.seed, self.thoughts, {**self.rewards, **rewards})

    def agrees(self, other: Tree) -> bool:
        """Whether both have the same thoughts, and the same rewards but for rounding.

        Log-probabilities are sums whose order depends on the batch, except on exact engines; those
        are to be compared by `sha256`.
        """
        return (
            {path: texts_of(thought) for path, thought in self.thoughts.items()}
            == {path: texts_of(thought) for path, thought in other.thoughts.items()}
            and self.rewards.keys() == other.rewards.keys()
            and all(abs(value - other.rewards[path]) < 1e-4 for path, value in self.rewards.items())
        )

    def sha256(self) -> str:
        """A canonical hash over paths, texts and rewards; equal trees have equal hashes."""
        rows = [
            [
                list(path),
                *((None,) if thought.failed else texts_of(thought)),
                self.rewards.get(path),
                *words_of(self.rewards.get(path)),
            ]
            for path, thought in sorted(self.thoughts.items(), key=itemgetter(0))
        ]
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def texts_of(thought: Thought) -> list[str]:
    """The texts of a thought: what it says, and the reasoning before that if there is any."""
    return [thought.text, thought.reasoning] if thought.reasoning else [thought.text]


def words_of(reward: float | None) -> list[str]:
    """What a reward says besides its number, if anything."""
    return [reward.words] if isinstance(reward, Critique) and reward.words else []


def chain_of(thoughts: Mapping[Path, Thought], path: Path) -> tuple[Thought, ...]:
    """The thoughts from the question to `path`, both ends of the path included."""
    return tuple(thoughts[path[: depth + 1]] for depth in range(len(path)))


def derive_seed(seed: int, path: Path, purpose: str = "thought") -> int:
    """A 31-bit seed for one purpose at one path of one run (31 bits: what every server accepts).

    Example:
        >>> derive_seed(1, (0, 2)) == derive_seed(1, (0, 2)) != derive_seed(1, (0, 3))
        True
    """
    label = f"{seed}/{purpose}/{'.'.join(map(str, path))}"
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big") >> 1


def draw(seed: int, path: Path, purpose: str) -> Random:
    """A random generator of its own for one purpose at one path: the only chance in a search.

    Example:
        >>> draw(1, (0,), "which child").random() == draw(1, (0,), "which child").random()
        True
    """
    return Random(derive_seed(seed, path, purpose))


@lru_cache(1 << 16)  # a forecast asks for the same ones again and again
def uniforms(seed: int, path: Path, purpose: str) -> tuple[float, float]:
    """Two numbers in (0, 1) for one purpose at one path, where a generator would cost too much."""
    label = f"{seed}/{purpose}/{path}"
    digest = hashlib.sha256(label.encode()).digest()
    one, other = int.from_bytes(digest[:6], "big"), int.from_bytes(digest[6:12], "big")
    return (one + 0.5) / (1 << 48), (other + 0.5) / (1 << 48)
