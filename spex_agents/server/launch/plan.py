"""Which servers there are to be, each with its port, its devices and its command line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

import anyio

from spex_agents.server.cpu.device import device_memory, has_cuda
from spex_agents.server.launch.command_lines import (
    command,
    device_groups,
    environment,
    router_command,
)
from spex_agents.server.launch.memory import shares
from spex_agents.server.launch.settings import Serving, choose_port


class Status(Enum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to be restarted"
    STOPPED = "stopped"


@dataclass(slots=True, kw_only=True)
class Worker:
    """One server, kept up.

    Attributes:
        name: ``policy``, ``policy-1`` and so on where there are several, ``reward``, ``router``.
        program: What runs there, for people.
        url: Of the server, without a path.
        command: Its command line, for the device as it is when called.
        env: Its environment.
        health: Path that answers once it is ready.
        log: File of all it says.
        status: Where it is in its life.
        pid: Of its main process; None while there is none.
        started: Loop time of its last start, in seconds.
        restarts: How often it was restarted.
    """

    name: str
    program: str
    host: str
    port: int
    command: Callable[[], tuple[str, ...]] = field(repr=False)
    env: dict[str, str] = field(repr=False)
    log: Path
    health: str = "/health"
    status: Status = Status.STARTING
    pid: int | None = None
    started: float = 0.0
    restarts: int = 0
    ready: anyio.Event = field(default_factory=anyio.Event, repr=False)

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is served.

    Attributes:
        policies: The servers of the policy on this machine.
        reward: The server of the reward model.
        router: In front of the policy's servers, where there are several or some elsewhere.
    """

    policies: tuple[Worker, ...]
    reward: Worker | None
    router: Worker | None

    @property
    def models(self) -> tuple[Worker, ...]:
        return self.policies if self.reward is None else (*self.policies, self.reward)

    @property
    def all(self) -> tuple[Worker, ...]:
        return self.models if self.router is None else (*self.models, self.router)


def plan(serving: Serving) -> Servers:
    """Choose ports and divide the devices.

    Raises:
        SettingsError: A port is taken, there are fewer GPUs than workers, or the weights do not
            fit.
    """
    logs = serving.logs or Path(tempfile.mkdtemp(prefix="spex-serve-"))
    logs.mkdir(parents=True, exist_ok=True)
    groups = device_groups(serving.workers)
    first = (groups[0] or "").split(",")[0]
    share, reward_share = shares(serving, device_memory(first).total if has_cuda() else 0)
    env = environment(plugin=serving.plugin)

    def server(
        name: str,
        model: str,
        port: int,
        *,
        share: float | None,
        flags: tuple[str, ...],
        visible: str | None,
    ) -> Worker:
        port = choose_port(serving.host, port)
        return Worker(
            name=name,
            program=f"SGLang for {model!r}",
            host=serving.host,
            port=port,
            command=partial(
                command,
                model,
                host=serving.host,
                port=port,
                share=share,
                flags=flags,
                visible=visible,
            ),
            env=env if visible is None else {**env, "CUDA_VISIBLE_DEVICES": visible},
            log=logs / f"{name}.log",
        )

    policies: list[Worker] = []
    reward = router = None
    if serving.policy is not None:
        for index, visible in enumerate(groups):
            name = f"policy-{index + 1}" if serving.routed else "policy"
            port = 0 if serving.routed else serving.port
            worker = server(
                name,
                serving.policy,
                port,
                share=serving.memory if index else share,
                flags=serving.flags,
                visible=visible,
            )
            policies.append(worker)
    if serving.reward is not None:
        reward = server(
            "reward",
            serving.reward,
            serving.reward_port,
            share=reward_share,
            flags=serving.reward_flags,
            visible=groups[0],
        )
    if serving.routed:
        port = choose_port(serving.host, serving.port)
        router = Worker(
            name="router",
            program="sglang-router",
            host=serving.host,
            port=port,
            command=partial(
                router_command,
                [*(worker.url for worker in policies), *serving.worker_urls],
                host=serving.host,
                port=port,
                flags=serving.router_flags,
            ),
            env=env,
            log=logs / "router.log",
            health="/readiness",
        )
    return Servers(policies=tuple(policies), reward=reward, router=router)
