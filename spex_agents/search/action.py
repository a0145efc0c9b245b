"""How a thought is asked for: the prompts of a policy, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    r"""One way of asking for a thought; the default asks for the next step.

    Attributes:
        name: For people.
        user: The user's turn, in which ``{question}`` and ``{steps}`` are filled in; empty for that
            of the search's template. With ``{steps}`` the steps so far are told there, and the
            reply begins anew; without it the reply goes on after them.
        cue: Words that begin the thought: the model goes on from them.
        to_end: The thought runs to the end of its path instead of to the next step delimiter.
        goes_on: The path goes on even if the model stops after the thought.
        lists: The thought is the next entry of a list that its elder siblings (those of smaller
            index, all of this action) have begun: the reply shows them. Drawn one after the other
            they are distributed as one list that the model writes at once, but for its own end.

    Example:
        >>> Action(name="rephrase", cue="In other words: ", goes_on=True).to_end
        False
    """

    name: str = "step"
    user: str = ""
    cue: str = ""
    to_end: bool = False
    goes_on: bool = False
    lists: bool = False


STEP = Action()
WHOLE = Action(name="answer", to_end=True)
