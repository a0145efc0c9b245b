"""How a search stands, as far as the rules that may end it are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spex_agents.answers.votes import Ballot, Vote, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a search stands: committed leaves only, whatever runs ahead.

    Between two decisions, or within one: then some of what it demanded is not there yet.

    Attributes:
        ballots: The votes of the leaves so far, in the order of their places.
        vote: How they are counted.
        remaining: At most how many more leaves will vote, or None where the policy cannot say.
        tokens: Tokens of the committed thoughts.
        decoded: Tokens decoded for the search so far, in all its runs: thoughts, rewards, and what
            was wasted.
        sent: Tokens of the prompts of all its calls so far, likewise; as far as the engine tells.
        seconds: Since the search began, on the clock of the running loop.
        time: Now, in seconds since the epoch.
        within: Whether a decision is being carried out.
        fixed: How many of the ballots, from the first on, no vote to come will be placed before;
            None for all.

    Example:
        >>> ballots = [Ballot("5", 0.9), Ballot("5", 0.8), Ballot("4", 0.3)]
        >>> standing = Standing(ballots=ballots, vote="majority", remaining=1, tokens=120)
        >>> standing.leaders()
        (('5', 2.0), ('4', 1.0))
    """

    ballots: Sequence[Ballot]
    vote: Vote
    remaining: int | None
    tokens: int
    decoded: int = 0
    sent: int = 0
    seconds: float = 0.0
    time: float = 0.0
    within: bool = False
    fixed: int | None = None

    def leaders(self) -> tuple[tuple[str, float], tuple[str, float]] | None:
        """The two leading answers and their scores (the second may be nobody, with 0)."""
        scores = [*tally(self.ballots, self.vote).items()]
        return (scores[0], scores[1] if len(scores) > 1 else ("", 0.0)) if scores else None
