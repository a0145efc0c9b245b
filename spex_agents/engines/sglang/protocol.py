"""What client and plugin agree on: priorities, request ids, and the messages between them.

SGLang's one message about a request in flight is ``POST /abort_request`` with its id. A message of
ours travels there too, as an id that no request has: ``spex:promote:run/0.3/thought-1;``. A server
without the plugin drops it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast, get_args

DEMANDED = 0
"""Priority of what a search waits for: that of anybody's ordinary request."""

SPECULATIVE = -100
"""Priority of guesses: below ordinary requests by more than SGLang's threshold for preemption."""

RETRACTED = -1000
"""Priority under which the KV of aborted requests is cached: it is evicted first."""

END = ";"
"""Ends every id we send, so that none is a prefix of another (SGLang aborts by prefix)."""

Verb = Literal["promote", "demote", "abort"]

_MARK = "spex:"
_BOUNDARIES = ("", "/", ".", "~", END)


class Message(NamedTuple):
    """Something to do with the request of id `target`, or with all below that path."""

    verb: Verb
    target: str

    def encode(self) -> str:
        """The id that carries the message."""
        return f"{_MARK}{self.verb}:{self.target}"


def decode(rid: str) -> Message | None:
    """The message that an id carries; None for a request's own id, or an unknown verb.

    Example:
        >>> decode(Message("promote", "run/0.3/thought-1;").encode())
        Message(verb='promote', target='run/0.3/thought-1;')
    """
    if not rid.startswith(_MARK):
        return None
    verb, _, target = rid.removeprefix(_MARK).partition(":")
    return Message(cast(Verb, verb), target) if verb in get_args(Verb) and target else None


def is_below(rid: str, prefix: str) -> bool:
    """Whether the request of id `rid` is the one of id `prefix`, or lies below that path.

    Example:
        >>> is_below("run/0.3.1/thought-1;", "run/0.3"), is_below("run/0.31/thought-1;", "run/0.3")
        (True, False)
    """
    return rid.startswith(prefix) and (
        rid[len(prefix) : len(prefix) + 1] in _BOUNDARIES or prefix[-1] in _BOUNDARIES
    )


def owner_of(rid: str) -> str:
    """The run that a request belongs to: the first part of its id."""
    return rid.partition("/")[0]
