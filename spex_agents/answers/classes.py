"""Whether two forms are of the same answer, and classes of forms that are all the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from spex_agents.answers.forms import Form

_JOINED = ("and", "or")


def same(one: Form, other: Form) -> bool:
    """Whether two forms are of the same answer.

    Example:
        >>> same(Form("5", "cm"), Form("5", label="x")), same(Form("5", "cm"), Form("5", "m"))
        (True, False)
    """
    if not _agree(one.label, other.label):
        return False
    if _bases(one) & _bases(other):
        return True
    if one.value != other.value:
        return False
    return one.note == other.note or not one.note or not other.note


def _agree(one: str, other: str) -> bool:
    """Whether two labels are no contradiction: a name and another one, "and" and "or"."""
    return not one or not other or one == other or (one in _JOINED) is not (other in _JOINED)


def _bases(form: Form) -> set[str]:
    return {form.base, *form.also} - {""}


def neighbours(forms: Iterable[Form]) -> dict[Hashable, set[Hashable]]:
    """For the name of each form those of the forms that may be the same, its own among them.

    Example:
        >>> forms = [Form("5"), Form("5", "cm"), Form("5", "m")]
        >>> [len(names) for names in neighbours(forms).values()]
        [3, 2, 2]
    """
    named = _named(forms)
    sharing: dict[str, set[Hashable]] = {}
    for name, variants in named.items():
        for form in variants:
            for key in (form.value, *_bases(form)):
                sharing.setdefault(key, set()).add(name)
    found: dict[Hashable, set[Hashable]] = {name: {name} for name in named}
    for names in sharing.values():
        for name in names:
            found[name] |= {
                other
                for other in names - found[name]
                if any(same(one, two) for one in named[name] for two in named[other])
            }
    return found


def classes(forms: Sequence[Form]) -> list[Hashable]:
    """A name for each form's class: within a class all are the same, pair by pair.

    What leaves something unsaid goes with those that say it, unless they contradict each other:
    together are the forms that are the same as just the same others.

    Example:
        >>> a, b, c = classes([Form("5"), Form("5", "cm"), Form("6")])
        >>> a == b, a == c
        (True, False)
    """
    near, named = neighbours(forms), _named(forms)
    # 10 is 10 minutes, but not 600 seconds: where there are both it stays by itself.
    whole = {
        name
        for name, others in near.items()
        if all(same(one, two) for other in others for one in named[name] for two in named[other])
    }
    homes: dict[Hashable, Hashable] = {}
    return [
        homes.setdefault(frozenset(near[form.name]), form.name) if form.name in whole else form.name
        for form in forms
    ]


def _named(forms: Iterable[Form]) -> dict[Hashable, set[Form]]:
    named: dict[Hashable, set[Form]] = {}
    for form in forms:
        named.setdefault(form.name, set()).add(form)
    return named
