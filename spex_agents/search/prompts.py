r"""The prompts of the field's policies, in words of our own: data, to be replaced by yours.

They ask for an answer in ``\boxed{}``, as the default template does.
"""

from __future__ import annotations

from dataclasses import replace

from spex_agents.search.action import Action

ONE_STEP = Action(name="one step", goes_on=True)
"""A1 of rStar: the template asks for the next step, and a model that stops has not finished."""

SUBQUESTION = Action(
    name="sub-question",
    user=(
        "{question}\n\n"
        "Solve this by sub-questions, one a line, each with its answer, like this:\n"
        "Sub-question: How many hours are left? Answer: 24 - 9 = 15 hours.\n"
        "When nothing is left to find out, ask the question itself as the last sub-question, "
        "and give its answer in \\boxed{}."
    ),
    cue="Sub-question: ",
    goes_on=True,
)
"""A3 of rStar, and the step of RAP: the next sub-question, with its answer."""

REANSWER = Action(name="answer again", user=SUBQUESTION.user, again=" Answer:", goes_on=True)
"""A4 of rStar: the last sub-question as it was asked, with a new answer."""

REPHRASE = Action(
    name="rephrase",
    user=(
        "{question}\n\n"
        "Do not solve this. Say it in other words, in one line: "
        "first everything that is given, fact by fact, then what is asked."
    ),
    cue="In other words: ",
    goes_on=True,
    restates=True,
)
"""A5 of rStar: the question in other words, which the prompts below ask instead."""

PROPOSE = Action(
    name="propose",
    user=(
        "{question}\n\n"
        "Steps taken so far:\n{steps}\n\n"
        "List steps that could come next, one a line, each different from the others. "
        "A step that completes the solution gives the answer in \\boxed{}."
    ),
    lists=True,
    goes_on=True,
)
"""The original ToT's proposals: the children of a thought are the entries of one list."""

ANSWER = Action(name="answer", to_end=True, refines=True)
"""A whole answer, as the template asks for it, below which better ones may follow."""

IMPROVE = Action(
    name="improve",
    user=(
        "{question}\n\n"
        "This is what you have answered before:\n\n{attempt}\n\n"
        "Answer again, and better: find what is wrong or missing there, and put it right. "
        "Give the whole answer, with the result in \\boxed{}."
    ),
    to_end=True,
    refines=True,
)
"""A better answer than the last one on the path, which it is shown with what was said of it."""

REFINE = replace(
    IMPROVE,
    name="refine",
    user=(
        "{question}\n\n"
        "These are your answers so far, each better than the one before, or so you hoped:\n\n"
        "{attempts}\n\n"
        "Learn from them: say in a line what to do otherwise, then give the whole answer again, "
        "with the result in \\boxed{}."
    ),
)
"""A better answer than all on the path, each of which it is shown with what was said of it."""

MESSAGE_AGAIN = replace(
    REFINE,
    name="message again",
    user=(
        "These are drafts of your next message, with the results of the tools that they call and "
        "with what was said of them. Nobody has seen them:\n\n"
        "{attempts}\n\n"
        "Learn from them, and write a better message in their place."
    ),
)
"""An agent's next message once more, told of the drafts of it on the path."""
