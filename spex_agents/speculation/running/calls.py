"""What is asked of the engine and of the reward for one path, and what they may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeAlias

from spex_agents.answers.equivalence import begun, canonical
from spex_agents.answers.extract import found_in
from spex_agents.answers.reasoning import open_tag
from spex_agents.engines.base import Request
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, EngineUnavailable, RewardError, SpexError
from spex_agents.rewards.base import GroupReward, Reward, check_reward
from spex_agents.search.action import Action, told
from spex_agents.search.policy import Policy
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.config import NO_TEXT, SearchConfig

Around: TypeAlias = Callable[[Request], AbstractAsyncContextManager[None]]
"""What each call for a thought or a reward runs within."""

AROUND: ContextVar[Around] = ContextVar("spex_around", default=lambda request: nullcontext())
"""Set, by who runs a search, in the context in which it is opened: to bound or to trace calls."""


def bearable(config: SearchConfig, error: BaseException) -> bool:
    """Whether `error` is the fault of a path alone, without which the search may go on."""
    alone = isinstance(error, EngineError | RewardError)
    return config.failures is not None and alone and not isinstance(error, EngineUnavailable)


def elders_of(policy: Policy, path: Path) -> list[Path]:
    """The siblings whose texts belong to the prompt of `path`."""
    if not policy.action(path).lists:
        return []
    return [(*path[:-1], index) for index in range(path[-1])]


def last_elder(policy: Policy, path: Path) -> Path | None:
    """The sibling that has to be written before `path`, if there is one."""
    return next(reversed(elders_of(policy, path)), None)


def prompt_for(
    config: SearchConfig,
    question: str,
    path: Path,
    before: Sequence[Thought],
    elders: Sequence[Thought],
) -> tuple[Action, Prompt]:
    """How the thought at `path` is asked for, with its cue, and the prompt that asks."""
    template, action = config.template, config.policy.action
    steps = [(thought, action(path[:depth])) for depth, thought in enumerate(before, 1)]
    told_question, thoughts, asked = told(question, steps, action(path))
    prompt = template.prompt(told_question, thoughts, asked, elders)
    return asked, replace(prompt, plain=template.prompt(question, before))


async def write_thought(
    config: SearchConfig,
    action: Action,
    prompt: Prompt,
    before: Sequence[Thought],
    request: Request,
) -> Thought:
    """Ask the engine for the thought that follows those `before` it.

    Raises:
        EngineError: None came.
    """
    try:
        async with AROUND.get()(request):
            thought = await config.engine.generate(
                prompt,
                request,
                sampling=replace(config.sampling, stop=()) if action.to_end else config.sampling,
                max_tokens=config.limits.room(before, to_end=action.to_end),
            )
    except SpexError:
        raise
    except Exception as error:
        raise EngineError(f"{config.engine.name} failed: {error!r}") from error
    # After a step the end is an end; before any, only a function's, for no model writes nothing.
    said_end = thought.ends and bool(before or not thought.tokens)
    if config.failures is not None and not thought.text.strip() and not said_end:
        raise EngineError(
            f"{config.engine.name} wrote nothing but white space: such a path has failed; "
            "failures=None lets it go on"
        )
    # What is no text ends neither in a checkpoint nor in the next prompt.
    thought = replace(thought, text=action.cue + NO_TEXT.sub("\ufffd", thought.text))
    if action.goes_on and thought.finish == "stop":
        thought = replace(thought, finish="step", ends=False)
    thought = config.limits.close(thought, before)
    # A reasoning block that an earlier thought has left open: what is in it is no answer.
    text = open_tag((prompt.plain or prompt).reply) + thought.text
    cut = thought.finish == "length"
    answer = found_in(config.extract, text, cut=cut, ended=thought.ends)
    if answer is None:
        return thought
    if config.canonical is canonical:
        begun(answer)  # so that no decision waits for sympy
    return replace(thought, ends=True)


def stated(config: SearchConfig, tree: Tree, leaf: Path) -> str | None:
    """The answer at the end of a path, as it stands there."""
    thoughts = tree.chain(leaf)
    text = config.template.prompt(tree.question, thoughts).reply
    return found_in(config.extract, text, cut=thoughts[-1].finish == "length")


async def score_thought(
    reward: Reward, question: str, thoughts: Sequence[Thought], request: Request
) -> float:
    """The reward of the last of `thoughts`.

    Raises:
        RewardError: It failed, or is out of range.
    """
    with _failing(reward):
        async with AROUND.get()(request):
            value = await reward.score(question, thoughts, request)
    return check_reward(value, reward.name)


async def score_group(
    reward: GroupReward, question: str, group: Sequence[Sequence[Thought]], request: Request
) -> list[float]:
    """The rewards of the paths that `reward` compares.

    Raises:
        RewardError: It failed, one is out of range, or they are not one for each path.
    """
    with _failing(reward):
        async with AROUND.get()(request):
            values = await reward.score_group(question, group, request)
    if len(values) != len(group):
        raise RewardError(
            f"reward {reward.name!r} returned {len(values)} numbers for {len(group)} thoughts: "
            "must be one for each"
        )
    return [check_reward(value, reward.name) for value in values]


@contextmanager
def _failing(reward: Reward) -> Iterator[None]:
    """Name the reward in whatever it raises."""
    try:
        yield
    except SpexError:
        raise
    except Exception as error:
        raise RewardError(f"reward {reward.name!r} failed: {error!r}") from error
