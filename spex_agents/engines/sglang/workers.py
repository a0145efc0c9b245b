"""Behind a router: which servers work there, and what differs on the way to them.

sglang-router 0.3.2 passes thoughts on by ``/generate`` only with their id and class whole: it
writes chat completions anew without either, and refuses completions of token ids. It has no
``/abort_request``, ``/tokenize`` or ``/server_info``; those go to the workers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import anyio
import openai

from spex_agents.engines.openai.dialects import SGLANG, Fields
from spex_agents.engines.openai.failures import BrokenReply, is_transient
from spex_agents.engines.openai.reply import Reply, TokenLogprob

SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("stop", "no_stop_trim"),
)
"""Fields of OpenAI's protocol that ``/generate`` has by the same name."""

LISTED_SECONDS = 5.0
"""How long a list of workers is good."""

ASK_SECONDS = 10.0
"""How long one of several servers, or their router, has to answer; it is left out then."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A server behind a router.

    Attributes:
        url: As this process reaches it.
        healthy: Whether the router thinks so.
    """

    url: str
    healthy: bool = True


def read_workers(found: object, router: str) -> tuple[Worker, ...]:
    """Read what a router answers at ``/workers``: those that speak HTTP, healthy ones first.

    Empty if it is no list of workers. A loopback address is the router's: from another host, its
    worker is at the router's host.

    Raises:
        BrokenReply: It lists none yet.

    Example:
        >>> listed = {"workers": [{"url": "http://127.0.0.1:31001", "is_healthy": True}]}
        >>> read_workers(listed, "http://gpu-box:30000")
        (Worker(url='http://gpu-box:31001', healthy=True),)
    """
    try:
        workers = {
            _seen_from_here(str(entry["url"]), router): bool(entry.get("is_healthy", True))
            for entry in found["workers"]  # type: ignore[index]
        }
    except (AttributeError, KeyError, TypeError):
        return ()
    reached = [Worker(*item) for item in workers.items() if item[0].startswith("http")]
    if not reached:
        raise BrokenReply("the router has no workers that speak HTTP yet")
    return tuple(sorted(reached, key=lambda worker: (not worker.healthy, worker.url)))


class Workers:
    """The servers behind an address: those of a router, or the one that is there itself.

    Args:
        url: The address.
        given: The workers of a router that does not tell them.
        get: Fetches a URL.
    """

    def __init__(
        self, url: str, given: Sequence[str], get: Callable[[str], Awaitable[object]]
    ) -> None:
        self.url = url
        self._get = get
        self._fixed = bool(given)
        self._found: tuple[Worker, ...] | None = None
        self._listed = 0.0
        if given:
            roots = (url.rstrip("/").removesuffix("/v1") for url in given)
            self._found = tuple(Worker(root) for root in dict.fromkeys(roots))

    @property
    def routed(self) -> bool:
        """Whether there is a router, as far as is known."""
        return bool(self._found)

    @property
    def known(self) -> tuple[str, ...]:
        """Every server that is known, whether it is healthy or not."""
        return tuple(worker.url for worker in self._found or ()) or (self.url,)

    async def healthy(self) -> tuple[str, ...]:
        """The healthy servers, or all if there is none; looks for new ones now and then.

        Raises:
            openai.OpenAIError: It is not known yet whether there is a router, nor can it be asked.
            BrokenReply: The same, or the router has no worker yet.
        """
        now = anyio.current_time()
        if self._found is None or (
            self._found and not self._fixed and now - self._listed > LISTED_SECONDS
        ):
            self._listed = now
            self._found = await self._list()
        return tuple(worker.url for worker in self._found if worker.healthy) or self.known

    async def _list(self) -> tuple[Worker, ...]:
        """The workers of the router; none if there is no router."""
        try:
            with anyio.fail_after(ASK_SECONDS):
                found = await self._get(f"{self.url}/workers")
            return read_workers(found, self.url) or self._found or ()
        except (openai.OpenAIError, BrokenReply, TimeoutError) as error:
            if self._found:  # a router that is down for now
                return self._found
            if isinstance(error, openai.APIStatusError) and not is_transient(error):
                return ()
            if isinstance(error, TimeoutError):
                raise BrokenReply(f"{self.url}/workers did not answer") from error
            raise


def _seen_from_here(url: str, router: str) -> str:
    url = re.sub(r"@\d+$", "", url)  # one of the ranks of one server
    parts, host = urlsplit(url), urlsplit(router).hostname or ""
    if not _is_loopback(parts.hostname or "") or _is_loopback(host):
        return url.rstrip("/")
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}")).rstrip("/")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def generate_fields(fields: Mapping[str, object], prompt: Sequence[int]) -> Fields:
    """A completion's fields as those of ``/generate``, its prompt as token ids."""
    sampling = {key: fields[key] for key in SAMPLING if key in fields}
    sampling |= {"max_new_tokens": fields[SGLANG.cap], "sampling_seed": fields["seed"]}
    body: Fields = {"sampling_params": sampling, "input_ids": list(prompt)}
    if fields.get("logprobs"):
        body |= {"return_logprob": True, "return_text_in_logprobs": True}
    return body


class GenerateReply(Reply):
    """What a stream of ``/generate`` has brought so far."""

    def read(self, chunk: object) -> None:
        """Add a chunk, which has all there is so far, or (so the server may be set) a piece."""
        if not isinstance(chunk, Mapping):
            return
        meta = chunk["meta_info"]
        self._usage = int(meta.get("completion_tokens") or 0)
        self.prompt_tokens = int(meta.get("prompt_tokens") or 0)
        self.cached_tokens = int(meta.get("cached_tokens") or 0)
        logprobs = [
            TokenLogprob(str(token), float(logprob), ())
            for logprob, _, token in meta.get("output_token_logprobs") or ()
        ]
        if len(chunk.get("output_ids") or ()) < self._usage:
            self.text += chunk["text"]
            self.logprobs += logprobs
        else:
            self.text, self.logprobs = chunk["text"], logprobs
        self.finish = (meta.get("finish_reason") or {}).get("type")
        self._accounted = self._seen
