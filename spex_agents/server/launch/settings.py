"""What is served: the settings, and what is refused."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom

from spex_agents.errors import SettingsError, above_zero, at_least_one, at_least_zero

INSTALL = "pip install 'spex-agents[sglang]'"

ROOM = 0.15
"""Share of a GPU that each server on it needs besides weights and cache, for CUDA graphs and what a
chunk of a prompt takes: about what SGLang itself leaves on 24, 48 and 80 GB."""

_OWN_PORTS = range(20_000, 32_768)
"""Linux gives none to outgoing connections. A server listens minutes after its port is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A policy model and, if one is named, a reward model beside it on the same device.

    Attributes:
        policy: Directory of the model that writes thoughts, or its name on the model hub; None
            where only `worker_urls` serve it.
        reward: The same of the model that scores them; None for none.
        host: Address both listen at.
        port: Of the policy, or of the router in front of it; 0 for a free one.
        reward_port: Of the reward model; 0 for a free one.
        memory: Share of the device's memory for both together, weights and cache; None to leave a
            single model to SGLang, and to leave room for the CUDA graphs of each of two.
        reward_memory: Share for the reward model, out of `memory`; None to go by the size of the
            weights where it can be known, in directories and on the model hub, and else for half.
            On a CPU, both are without effect: caches hold 32768 tokens there unless
            ``--max-total-tokens`` says otherwise.
        workers: Servers of the policy on this machine. Several share its GPUs evenly and get a
            router in front; the reward model is beside the first.
        worker_urls: Addresses of further ones, on other hosts, behind the same router.
        router_flags: Further flags of the router; they win over those set here.
        plugin: Whether SPEX schedules inside the servers.
        flags: Further flags of SGLang for the policy; they win over those set here.
        reward_flags: The same for the reward model.
        logs: Directory of the servers' logs; None for a new temporary one.
        start_timeout: Seconds a server may take until it is ready.
        stop_timeout: Seconds a server may take to stop by itself before it is killed.
        restarts: Restarts in a row of a server that died, at most.
        restart_wait: Seconds before the first of them, doubled before each further one.

    Raises:
        SettingsError: A value is outside its range, or a model's directory is not one.

    Example:
        >>> Serving(policy="Qwen/Qwen2.5-7B-Instruct", memory=0.8).port
        30000
    """

    policy: str | None = None
    reward: str | None = None
    host: str = "127.0.0.1"
    port: int = 30000
    reward_port: int = 0
    memory: float | None = None
    reward_memory: float | None = None
    workers: int = 1
    worker_urls: tuple[str, ...] = ()
    router_flags: tuple[str, ...] = ()
    plugin: bool = True
    flags: tuple[str, ...] = ()
    reward_flags: tuple[str, ...] = ()
    logs: Path | None = None
    start_timeout: float = 1800.0
    stop_timeout: float = 15.0
    restarts: int = 5
    restart_wait: float = 1.0

    @property
    def routed(self) -> bool:
        """Whether there is a router."""
        return self.workers > 1 or bool(self.worker_urls)

    def __post_init__(self) -> None:
        at_least_one(workers=self.workers)
        self._check_routing()
        for name, model in (("policy", self.policy), ("reward", self.reward)):
            if model is not None:
                check_model(name, model)
        for name in ("port", "reward_port"):
            if not 0 <= (port := getattr(self, name)) <= 65535:
                raise SettingsError(f"{name}={port!r}: must lie in [0, 65535] (0: a free one)")
        if self.reward is not None and 0 < self.port == self.reward_port:
            raise SettingsError(f"reward_port={self.reward_port!r}: the policy has that one")
        if self.memory is not None and not 0 < self.memory < 1:
            raise SettingsError(f"memory={self.memory!r}: must lie in (0, 1), a share")
        most = 1 - 2 * ROOM if self.memory is None else self.memory
        if self.reward_memory is not None and not 0 < self.reward_memory < most:
            raise SettingsError(
                f"reward_memory={self.reward_memory!r}: must lie in (0, {most:g}), "
                "a share of the device's memory, out of `memory`"
            )
        above_zero(start_timeout=self.start_timeout, stop_timeout=self.stop_timeout)
        above_zero(restart_wait=self.restart_wait)
        at_least_zero(restarts=self.restarts)

    def _check_routing(self) -> None:
        if self.policy is None and (self.workers > 1 or not self.worker_urls):
            raise SettingsError(
                "policy=None: give a model to serve, or addresses of workers that serve one"
            )
        if self.router_flags and not self.routed:
            raise SettingsError(
                f"router_flags={self.router_flags!r}: one worker has no router; give workers= or "
                "worker_urls="
            )
        for url in self.worker_urls:
            if not url.startswith(("http://", "https://")):
                raise SettingsError(f"worker_urls={url!r}: must begin with http:// or https://")


def check_model(name: str, model: str) -> None:
    """Refuse what looks like a directory and is none with a model in it.

    Raises:
        SettingsError: So it is.
    """
    directory = Path(model).expanduser()
    if model and directory.is_dir():
        if not (directory / "config.json").is_file():
            raise SettingsError(
                f"{name}={model!r}: there is no config.json in that directory; convert a GGUF "
                "file by: spex model convert"
            )
    elif model.startswith(("/", ".", "~")) or model.count("/") > 1 or not model:
        raise SettingsError(
            f"{name}={model!r}: there is no such directory; give one with a model in Hugging "
            "Face's layout, or a name on the model hub (owner/name)"
        )


def check_installed(*, sglang: bool = True, router: bool = False) -> None:
    """Refuse to go on without SGLang, or its router, where they are needed.

    Raises:
        SettingsError: One is not installed here.
    """
    for name, module, needed in (
        ("SGLang", "sglang", sglang),
        ("sglang-router", "sglang_router", router),
    ):
        if needed and find_spec(module) is None:
            raise SettingsError(f"{name} is not installed in {sys.prefix}: run {INSTALL}")


def choose_port(host: str, port: int) -> int:
    """`port` if it is free at `host`, or a free one for 0.

    Raises:
        SettingsError: The port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port else SystemRandom().sample(_OWN_PORTS, 100):
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, candidate))
            except OSError as error:
                refusal = error
            else:
                return candidate
    raise SettingsError(
        f"{host}:{port} cannot be listened at: {refusal.strerror}; "
        "stop what has it, or give another port (0: a free one)"
    ) from refusal
