"""What is asked of the engine and of the reward for one path, and what they may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeAlias

from spex_agents.answers.reasoning import open_tag
from spex_agents.engines.base import Request
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, EngineUnavailable, RewardError, SpexError
from spex_agents.rewards.base import GroupReward, Reward, check_reward, speaks
from spex_agents.search.action import Action, before_try, told, tries
from spex_agents.search.policy import Policy
from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.questions import NO_TEXT, blank
from spex_agents.speculation.running.forms import found

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
    *,
    elders: Sequence[Thought],
    rewards: Mapping[Path, float],
) -> tuple[Action, Prompt]:
    """How the thought at `path` is asked for, with its cue, and the prompt that asks."""
    template, action = config.template, config.policy.action
    first = before_try(action, path)
    steps = [
        (thought, action(path[:depth])) for depth, thought in enumerate(before, 1) if depth > first
    ]
    told_question, thoughts, asked = told(question, steps, action(path))
    tried = tuple(tries(action, path, before, rewards)) if asked.listens else ()
    # A template of one's own need not know of tries before there are some.
    earlier = (tried,) if tried else ()
    prompt = template.prompt(told_question, thoughts, asked, elders, *earlier)
    return asked, replace(prompt, plain=template.prompt(question, before))


def hears(config: SearchConfig, path: Path) -> bool:
    """Whether the prompt of `path` shows what the reward says of the thoughts above it."""
    return speaks(config.reward) and config.policy.action(path).listens


def attempt(policy: Policy, path: Path, chain: Sequence[Thought]) -> tuple[Thought, ...]:
    """The thoughts of the try that `path` has come to: what rewards and votes see of it."""
    thoughts = tuple(chain[before_try(policy.action, path) :])
    if thoughts and _stays_open(policy.action(path)):
        return (*thoughts[:-1], replace(thoughts[-1], ends=True))
    return thoughts


def _stays_open(action: Action) -> bool:
    """Whether the path goes on below a whole answer, to better ones."""
    return action.refines and action.to_end


def longest(config: SearchConfig, path: Path, before: Sequence[Thought]) -> int:
    """Tokens that the thought at `path` may take, which follows those `before` it."""
    action = config.policy.action
    return config.limits.room(before[before_try(action, path) :], to_end=action(path).to_end)


async def write_thought(
    config: SearchConfig,
    asked: tuple[Action, Prompt],
    path: Path,
    before: Sequence[Thought],
    request: Request,
) -> Thought:
    """Ask the engine for the thought at `path`, which follows those `before` it.

    Raises:
        EngineError: None came.
        AnswerError: No answer could be looked for in it.
    """
    action, prompt = asked
    above = before_try(config.policy.action, path)
    most, before = longest(config, path, before), before[above:]
    writer = config.writer(action)
    try:
        async with AROUND.get()(request):
            thought = await writer.generate(
                prompt,
                request,
                sampling=replace(config.sampling, stop=()) if action.to_end else config.sampling,
                max_tokens=most,
            )
    except SpexError:
        raise
    except Exception as error:
        raise EngineError(f"{writer.name} failed: {error!r}") from error
    # After a step the end is an end; before any, only a function's, for no model writes nothing.
    said_end = thought.ends and bool(before or not thought.tokens)
    if config.failures is not None and blank(thought.text) and not said_end:
        raise EngineError(
            f"{writer.name} wrote nothing but white space: such a path has failed; "
            "failures=None lets it go on"
        )
    # What is no text ends neither in a checkpoint nor in the next prompt.
    thought = replace(thought, text=action.cue + NO_TEXT.sub("\ufffd", thought.text))
    if action.goes_on and thought.finish == "stop":
        thought = replace(thought, finish="step", ends=False)
    if _stays_open(action):
        return replace(thought, ends=above + 1 >= config.limits.depth)
    thought = config.limits.close(thought, before, above=above)
    # A reasoning block that an earlier thought has left open: what is in it is no answer.
    plain = prompt.plain or prompt
    if above:
        plain = config.template.prompt(plain.question or "", before)
    text = open_tag(plain.reply) + thought.text
    cut = thought.finish == "length"
    answer = found(config.extract, text, cut=cut, ended=thought.ends)
    return thought if answer is None else replace(thought, ends=True)


def stated(config: SearchConfig, question: str, leaf: Path, chain: Sequence[Thought]) -> str | None:
    """The answer at the end of a path, as it stands there.

    Raises:
        AnswerError: The function that finds it failed.
    """
    thoughts = attempt(config.policy, leaf, chain)
    text = config.template.prompt(question, thoughts).reply
    return found(config.extract, text, cut=thoughts[-1].finish == "length")


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
    return _said(check_reward(value, reward.name), reward)


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
    return [_said(check_reward(value, reward.name), reward) for value in values]


def _said(value: float, reward: Reward) -> float:
    """`value` with its words if `reward` speaks: only then does a prompt wait for them."""
    return value if speaks(reward) else float(value)


@contextmanager
def _failing(reward: Reward) -> Iterator[None]:
    """Name the reward in whatever it raises."""
    try:
        yield
    except SpexError:
        raise
    except Exception as error:
        raise RewardError(f"reward {reward.name!r} failed: {error!r}") from error
