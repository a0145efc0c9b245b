"""A reward begun early that ends at the very moment in which it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
from searching import QUESTION, check_idle, config, make_engine

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.search import Path, Thought, Tree
from spex_agents.speculation.config import Known, Speculation
from spex_agents.speculation.session import Session


class Ending:
    """A reward that has something done between its own end and the moment that this is seen."""

    name: ClassVar = "ending"
    needs_logprobs: ClassVar = False
    pure: ClassVar = True

    def __init__(self, *, fails: bool = False) -> None:
        self.then: Callable[[], None] = lambda: None
        self.asked = 0
        self._fails = fails

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        self.asked += 1
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_soon(self.then)
        if self._fails and self.asked == 1:
            raise OSError("gone")
        return 0.5


def faded(session: Session) -> None:
    """What the planner does when a thought has become improbable."""
    session.memo.scores.offer([(0,)], {(0,): 0.0}, least=0.5, share=None)


def at_its_end(
    then: Callable[[Session], None], reward: Ending, after: Callable[[Session], None]
) -> None:
    opened: list[Session] = []

    def writing(known: Known) -> dict[Path, float]:
        """What is begun by the test itself is let go on, and nothing else is begun."""
        return {path: 1.0 for session in opened for path in session.memo.writing}

    async def main() -> None:
        engine = make_engine()
        quiet = Speculation(forecast=writing)
        made = config(engine, speculation=quiet, reward=reward)
        async with Session(made, Tree(QUESTION), run="run") as session:
            opened.append(session)
            session.memo.launch((0,))
            await asyncio.sleep(10)  # written after 1 to 2 s
            reward.then = lambda: then(session)
            session.memo.scores.launch((0,))
            judging = session.memo.scoring[(0,)].task
            await asyncio.wait([judging])
            reward.then = lambda: None
            after(session)
            await session.expand([(0,)])
            rewards = await session.evaluate([(0,)])
            assert rewards == {(0,): 0.5}
            await asyncio.sleep(10)
        check_idle(engine)

    run_virtual(main())


def test_it_is_kept_and_not_asked_for_again() -> None:
    reward = Ending()

    def kept(session: Session) -> None:
        assert session.memo.rewards == {(0,): 0.5}

    at_its_end(faded, reward, kept)
    assert reward.asked == 1


@pytest.mark.parametrize("fails", [True, False])
def test_one_that_nobody_shall_have_is_given_up_all_the_same(*, fails: bool) -> None:
    reward = Ending(fails=fails)

    def dropped(session: Session) -> None:
        assert session.memo.rewards == {}

    at_its_end(lambda session: session.memo.scores.drop((0,)), reward, dropped)
    assert reward.asked == 2


def test_one_that_has_failed_is_not_guessed_again() -> None:
    reward = Ending(fails=True)

    def failed(session: Session) -> None:
        assert session.memo.rewards == {}
        session.memo.scores.launch((0,))
        assert not session.memo.scoring

    at_its_end(faded, reward, failed)
    assert reward.asked == 2
