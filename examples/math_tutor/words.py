"""What the tutor says: pure functions of the evidence, the same words for the same tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import shorten

from examples.math_tutor.checks import Check
from examples.math_tutor.evidence import Attempt, Evidence, Step
from examples.math_tutor.marking import Mark
from examples.math_tutor.memory import Record
from examples.math_tutor.steps import false_sum, masked, number, operands, states_sum
from spex_agents.search import Path

LONGEST_QUOTE, MOST_TOLD = 120, 4  # characters of a thought, and alternatives of a step

COMMANDS = "your step or its value, hint, explain or why, give up"

ADVICE = {
    "carrying": "look at what is carried from one place to the next",
    "a wrong digit": "look at each digit for itself",
    "off by one": "count once more at the end",
    "operation": "see which of + - * / the step asks for",
    "not carried out": "write what comes out, not what goes in",
    "sign": "mind the sign",
}
"""By kind of slip."""


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def greeting(records: Sequence[Record]) -> str:
    """What is remembered of the problems that a student was taught; empty if there were none."""
    if all(record["status"] == "unsolved" for record in records):
        return ""
    slips = sum((Counter(record["slips"]) for record in records), Counter())
    hints = sum(record["hints"] for record in records)
    done = sum(record["status"] == "done" for record in records)
    taught = sum(record["status"] != "unsolved" for record in records)
    far = f"{done} of {counted(taught, 'problem')} done so far, {counted(hints, 'hint')}"
    parts = [f"Welcome back: {far}."]
    if slips:
        listed = ", ".join(f"{kind} {times(count)}" for kind, count in slips.most_common())
        parts.append(f"Your slips were: {listed}.")
        if (kind := slips.most_common(1)[0][0]) in ADVICE:
            parts.append(f"So this time, {ADVICE[kind]}.")
    return " ".join(parts)


def opening(evidence: Evidence, path: Path, steps: Sequence[Step], known: str | None) -> str:
    """How the solution was found, and what stands behind it; nothing of the solution itself."""
    refuted = sum(attempt.tries for attempt in evidence.refuted())
    found = (
        f"I searched for a solution: {counted(len(evidence.tree), 'thought')}, "
        f"{counted(len(evidence.answers), 'path')} to an answer, "
        f"{counted(refuted, 'thought')} refuted."
    )
    behind = "Its answer is the known one." if known is not None else _support(evidence, path)
    turn = f"My solution has {counted(len(steps), 'step')}; now it is your turn."
    return " ".join(filter(None, [found, _doubt(evidence.check, steps), behind, turn]))


def _doubt(check: Check, steps: Sequence[Step]) -> str:
    """Which steps nothing has checked; empty if all were."""
    open_ones = [n for n, step in enumerate(steps, 1) if not check.covers(step.text)]
    if not open_ones:
        return ""
    if len(open_ones) == len(steps):
        which = "any of its steps, and I go by the model's own confidence"
    else:
        which = "step " + ", ".join(map(str, open_ones))
    return f"I am unsure of it: nothing could check {which}. It may be wrong."


def _support(evidence: Evidence, path: Path) -> str:
    """What speaks for an answer that is not known."""
    if evidence.check.decides:
        return ""
    agree, paths = evidence.agreement(path)
    share = f"{agree} of {counted(paths, 'path')} came to its answer"
    return f"Whether it does what the question asks, I cannot check: {share}."


def no_solution(evidence: Evidence, known: str | None) -> str:
    """Why there is nothing to teach."""
    ends = Counter(evidence.answers.values())
    passed = Counter(end for leaf, end in evidence.answers.items() if evidence.sound(leaf))
    lines = ["I have found no solution that I can stand behind, so I will not teach one."]
    if not ends:
        lines.append(f"None of {counted(len(evidence.tree), 'thought')} came to an answer.")
    elif not passed:
        lines.append(f"The check let none of {sum(ends.values())} answers pass: {_listed(ends)}.")
    elif known is not None:
        lines.append(f"No path came to the known answer; they came to {_listed(ends)}.")
    else:
        if len(passed) > 1:
            lines.append(f"The paths contradict each other: {_listed(passed)}.")
        sound = (leaf for leaf in evidence.answers if evidence.sound(leaf))
        if unread := next(filter(None, map(evidence.unread, sound)), None):
            lines.append(f'No calculator can read "{unread}", so nothing stands behind it.')
    lines += [
        f'- "{attempt.text}", tried {times(attempt.tries)}: {_why(attempt, evidence.check)[0]}.'
        for attempt in evidence.refuted()[:3]
    ]
    return "\n".join(
        [
            *lines,
            "A wider search (--width 16; --rollouts where the policy has them), another --seed, or "
            "a larger model (--engine, --model) may find one.",
        ]
    )


def hints(step: Step) -> tuple[str, ...]:
    """Hints for a step, from vague to the step itself; only the last one tells its value.

    Example:
        >>> step = Step(text="Tuesday: 19 + 6 = 25", value="25", unit=None, remarks=(),
        ...     reward=1.0, agree=3, others=())
        >>> hints(step)[1]
        'It has this form: Tuesday: 19 + 6 = ?'
    """
    hidden = masked(step.text, step.value)
    numbers = operands(step.text)
    if len(numbers) > 1:
        vague = f"It uses {', '.join(numbers[:-1])} and {numbers[-1]}."
    else:
        vague = f"It begins: {' '.join(hidden.split()[:3])} ..."
    graded = [vague, f"It has this form: {hidden}"]
    slips = [other for other in step.others if other.way is None and false_sum(other.text)]
    if slips:
        worst = max(slips, key=lambda other: other.tries)
        graded.append(f"The search itself slipped here, with: {worst.text}")
    return (*(masked(hint, step.value) for hint in graded), f"This is the step: {step.text}")


def tried(attempt: Attempt, check: Check) -> str:
    """What became of an alternative."""
    why, passed = _why(attempt, check)
    but = ", but" if passed and attempt.ends and attempt.way is None else ";"
    text = shorten(attempt.text, LONGEST_QUOTE, placeholder="...")
    what = f'Tried {times(attempt.tries)}: "{text}"{_scored(attempt.reward)}'
    return f"{what}: {why}{but} {_fate(attempt)}."


def _worth_telling(step: Step, others: Sequence[Attempt]) -> list[Attempt]:
    """Those that were tried most often; where a number is asked for, none that came to words."""
    if number(step.value) is not None:
        others = [other for other in others if number(other.value) is not None]
    most = sorted(others, key=lambda other: -other.tries)[:MOST_TOLD]
    return [other for other in others if other in most]


def explained(step: Step, number: int, check: Check) -> str:
    """A step with the evidence of the tree."""
    total = step.agree + sum(other.tries for other in step.others)
    lines = [
        *step.remarks,
        f"{number}. {step.text}",
        f"   {step.agree} of {total} thoughts came to this; "
        + (
            f"it stands up to the check{_scored(step.reward)}."
            if check.covers(step.text)
            else f"reward {step.reward:.2f} is no check, only the model's view."
        ),
    ]
    lines += [f"   {tried(other, check)}" for other in _worth_telling(step, step.others)]
    return "\n".join(lines)


def explanation(steps: Sequence[Step], at: int, check: Check, said: str = "") -> str:
    """The steps found so far, and of the next one what does not tell it, nor was just `said`."""
    told = [explained(step, n, check) for n, step in enumerate(steps[:at], 1)]
    if at < len(steps):
        step = steps[at]
        others = [other for other in step.others if other.way is None]
        failed = [tried(other, check) for other in _worth_telling(step, others)]
        failed = [_veiled(one, steps, at) for one in failed]
        if left := [one for one in failed if one not in said]:
            told += ["I do not give this step away. What else was tried here:", *left]
        elif failed:
            told.append("I do not give this step away. Nothing besides what I have told you.")
        else:
            told.append("I do not give this step away, and the search made no mistake here.")
    return "\n".join(told)


def question(steps: Sequence[Step], at: int) -> str:
    """What the student is asked."""
    return f"Step {at + 1} of {len(steps)}: what comes next? ({COMMANDS})"


def led_to(text: str, steps: Sequence[Step], at: int) -> str:
    """`text`, and what the solution remarks before the step of number `at`."""
    remarks = steps[at].remarks if at < len(steps) else ()
    return "\n".join([text, *(_veiled(remark, steps, at) for remark in remarks)])


def marked(
    mark: Mark, steps: Sequence[Step], at: int, check: Check, kind: str | None, *, sure: bool
) -> str:
    """The answer to a student's line; it does not tell a value that is still to be found.

    Args:
        mark: What the line is worth.
        steps: Of the solution.
        at: The step that was asked for.
        check: What stands behind it.
        kind: Of the slip, if it is one.
        sure: Whether the answer is known to be right, or the check decides that.
    """
    step, attempt = steps[at], mark.attempt
    match mark.verdict:
        case "right":
            return f"Right: {step.text}" + (f" ({mark.why})" if mark.why else "")
        case "ahead":
            found = steps[mark.step or 0]
            return f"Right, and further than I asked: {found.text}"
        case "another way":
            return f"Right, another way that the search has found too: {attempt and attempt.text}"
        case "unreadable":
            return f"I cannot read that: {mark.why}. Give {COMMANDS}."
        case "behind":
            return "That is where we are already. What comes next?"
        case "sum" | "unit" | "rounded":
            return f"Not quite: {mark.why}."
        case "false sum":
            said = f"No: {mark.why}."
        case "tried" | "wrong" if check.covers(step.text) and (sure or not mark.holds):
            said = "Your sum holds, but it is not this step." if mark.holds else "No."
        case _ if mark.holds:
            covered = check.covers(step.text)
            mine = "which is asked for, I cannot tell" if covered else "nothing has checked mine"
            said = f"Your sum holds. It is not what I have, but {mine}."
        case _:
            said = "That is not what I have; but nothing has checked my step, so it may be wrong."
    parts = [said]
    if attempt:
        parts.append(f"I tried that too. {tried(attempt, check)}")
    elif advice := ADVICE.get(kind or ""):
        parts.append(f"{advice[0].upper()}{advice[1:]}.")
    told = " ".join(parts)
    return told if mark.verdict == "false sum" and not attempt else _veiled(told, steps, at)


def came_to(evidence: Evidence, path: Path, steps: Sequence[Step], known: str | None) -> str:
    """The answer of the solution, and whether anything has checked it."""
    answer, check = evidence.answer(path, steps[-1] if steps else None), evidence.check
    if known is not None or check.decides:
        return f"The answer is {answer}."
    if all(check.covers(step.text) for step in steps):
        return f"I came to {answer}; the sums hold, but nothing has checked what they stand for."
    return f"I came to {answer}; nothing has checked it."


def closing(hints: int, slips: Mapping[str, int]) -> str:
    """What was needed on the way."""
    wrong = ", ".join(f"{kind} {times(count)}" for kind, count in slips.items())
    return f"Hints: {hints}. Slips: {wrong or 'none'}."


def _veiled(text: str, steps: Sequence[Step], at: int) -> str:
    """`text` without the value of the step that is asked for, and without the answer."""
    return masked(masked(text, steps[at].value), steps[-1].value)


def _why(attempt: Attempt, check: Check) -> tuple[str, bool]:
    """What a check says of an alternative, and whether it lets that pass."""
    covered = check.covers(attempt.text)
    if covered and (why := false_sum(attempt.text)):
        return why, False
    if attempt.reward is not None and attempt.reward < check.bar:
        return "the check refused it", False
    if not covered:
        return "nothing has checked it", False
    return "its sum holds" if states_sum(attempt.text) else "it stands up to the check", True


def _scored(reward: float | None) -> str:
    """A reward that says more than that a check refuses or passes; empty otherwise."""
    return "" if reward in (None, 0, 1) else f", reward {reward:.2f}"


def _fate(attempt: Attempt) -> str:
    if not attempt.ends:
        return "the search went no further from there"
    verdict = "" if attempt.way is None else ", as my solution does"
    return f"it ended with {_listed(attempt.ends)}{verdict}"


def _listed(ends: Mapping[str, int]) -> str:
    return ", ".join(f"{answer} ({times(count)})" for answer, count in ends.items())
