"""How a gateway is run: limits and habits, checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from spex_agents.engines.base import Engine, Sampling
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.speculation.config import Speculation


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """Limits and habits of a gateway, the same for all its keys.

    Attributes:
        reward: The reward of requests that name none; None for the engine's usual one.
        sampling: How tokens are drawn where a request does not say.
        speculation: How searches run ahead, unless a request declines; None for as it is usual with
            their engine.
        most_width: Largest width and number of rollouts that a request may ask for.
        most_depth: Largest depth.
        most_tokens: Tokens of a search's committed thoughts after which it decides no further.
        searches: Searches that run at a time in this process, of all keys together.
        search_seconds: Time for one search.
        hosts: Names by which it may be addressed (``Host``); empty for any.
        body_bytes: Size of a request's body.
        body_seconds: Time for a request's body to arrive.
        head_seconds: Time for a connection to begin a request, and for its head to arrive.
        refusals: Requests of an address that are refused at once, in ten seconds; beyond, each of
            its refusals takes a second.
        unready_seconds: Time after SIGTERM in which requests are still taken, but ``/readyz`` says
            no: for load balancers to look elsewhere.
        drain_seconds: Time for the running searches to end after SIGTERM.
        ping_seconds: Silence after which a stream is sent a comment.
        keep_seconds: Age at which an ended search is forgotten, its question and tree included.
        strict: Whether what would change an answer and is not done here is refused, instead of
            passed over.
        progress: Whether streams have the thoughts as content, too, in ``<think>`` tags, where a
            request does not say.
        origins: Of pages that a browser lets read the answers (CORS); ``*`` for any.
        open_metrics: Whether ``/metrics`` needs no key, though there are keys.
        log_prompts: Whether the log has the questions, too.

    Raises:
        SettingsError: A value is outside its range.
    """

    reward: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    speculation: Speculation | None = None
    most_width: int = 64
    most_depth: int = 64
    most_tokens: int = 65_536
    searches: int = 256
    search_seconds: float = 600.0
    hosts: tuple[str, ...] = ()
    body_bytes: int = 1_000_000
    body_seconds: float = 30.0
    head_seconds: float = 10.0
    refusals: int = 50
    unready_seconds: float = 5.0
    drain_seconds: float = 30.0
    ping_seconds: float = 15.0
    keep_seconds: float = 7 * 86_400.0
    strict: bool = False
    progress: bool = False
    origins: tuple[str, ...] = ()
    open_metrics: bool = False
    log_prompts: bool = False

    def ahead(self, engine: Engine) -> Speculation:
        """How a search with `engine` runs ahead."""
        return self.speculation or Speculation.usual(engine)

    def __post_init__(self) -> None:
        at_least_one(
            most_width=self.most_width,
            most_depth=self.most_depth,
            most_tokens=self.most_tokens,
            searches=self.searches,
            body_bytes=self.body_bytes,
            refusals=self.refusals,
        )
        for name in ("search", "body", "head", "drain", "ping", "keep"):
            if not (value := getattr(self, f"{name}_seconds")) > 0:
                raise SettingsError(f"{name}_seconds={value!r}: must be above 0")
        if not self.unready_seconds >= 0:
            raise SettingsError(f"unready_seconds={self.unready_seconds!r}: must be at least 0")
