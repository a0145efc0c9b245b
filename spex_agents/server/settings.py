"""What is served, and the command line of each SGLang server that follows from it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from spex_agents.errors import SettingsError
from spex_agents.server.cpu import CPU_FLAGS, Memory, cpu_environment, device_memory, has_cuda
from spex_agents.server.worker import LAUNCHER

PLUGIN = "spex"
CPU_PLUGIN = "spex-cpu"
PLUGINS = "sglang.srt.plugins"
INSTALL = "pip install 'spex-agents[sglang]'"

FLAGS: Mapping[str, str | None] = {
    "--enable-priority-scheduling": None,
    "--radix-eviction-policy": "priority",
    "--enable-metrics": None,
}
"""Given to every server unless the user gives them otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A policy model and, if one is named, a reward model beside it on the same device.

    Attributes:
        policy: Directory of the model that writes thoughts, or its name on the model hub.
        reward: The same of the model that scores them; None for none.
        host: Address both listen at.
        port: Of the policy; 0 for a free one.
        reward_port: Of the reward model; 0 for a free one.
        memory: Share of the device's memory for both together, weights and cache.
        reward_memory: Share for the reward model, out of `memory`; None to go by the size of the
            weights where both are directories, and else for half. On a CPU, both are without
            effect: caches hold 32768 tokens there unless ``--max-total-tokens`` says otherwise.
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

    policy: str
    reward: str | None = None
    host: str = "127.0.0.1"
    port: int = 30000
    reward_port: int = 0
    memory: float = 0.85
    reward_memory: float | None = None
    plugin: bool = True
    flags: tuple[str, ...] = ()
    reward_flags: tuple[str, ...] = ()
    logs: Path | None = None
    start_timeout: float = 1800.0
    stop_timeout: float = 15.0
    restarts: int = 5
    restart_wait: float = 1.0

    def __post_init__(self) -> None:
        for name, model in (("policy", self.policy), ("reward", self.reward)):
            if model is not None:
                check_model(name, model)
        for name in ("port", "reward_port"):
            if not 0 <= (port := getattr(self, name)) <= 65535:
                raise SettingsError(f"{name}={port!r}: must lie in [0, 65535] (0: a free one)")
        if self.reward is not None and 0 < self.port == self.reward_port:
            raise SettingsError(f"reward_port={self.reward_port!r}: the policy has that one")
        if not 0 < self.memory < 1:
            raise SettingsError(f"memory={self.memory!r}: must lie in (0, 1), a share")
        if self.reward_memory is not None and not 0 < self.reward_memory < self.memory:
            raise SettingsError(
                f"reward_memory={self.reward_memory!r}: must lie in (0, {self.memory}), "
                "a share of the device's memory, out of `memory`"
            )
        for name in ("start_timeout", "stop_timeout", "restart_wait"):
            if (seconds := getattr(self, name)) <= 0:
                raise SettingsError(f"{name}={seconds!r}: must be above 0 (seconds)")
        if self.restarts < 0:
            raise SettingsError(f"restarts={self.restarts!r}: must be at least 0")


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


def check_installed() -> None:
    """Refuse to go on without SGLang.

    Raises:
        SettingsError: It is not installed here.
    """
    if find_spec("sglang") is None:
        raise SettingsError(f"SGLang is not installed in {sys.prefix}: run {INSTALL}")


def choose_port(host: str, port: int) -> int:
    """`port` if it is free at `host`, or a free one for 0.

    Raises:
        SettingsError: The port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"{host}:{port} cannot be listened at: {error.strerror}; "
                "stop what has it, or give another port (0: a free one)"
            ) from error
        return int(listener.getsockname()[1])


def shares(serving: Serving) -> tuple[float, float]:
    """The shares of the device's memory for policy and reward."""
    if serving.reward is None:
        return serving.memory, 0.0
    if (reward := serving.reward_memory) is None:
        sizes = weight_bytes(serving.policy), weight_bytes(serving.reward)
        part = sizes[1] / sum(sizes) if all(sizes) else 0.5
        # the smaller one, too, needs room for its cache
        reward = serving.memory * min(max(part, 0.2), 0.8)
    return serving.memory - reward, reward


def weight_bytes(model: str) -> int:
    """Of a model's directory; 0 if there is none."""
    directory = Path(model).expanduser()
    files = [*directory.glob("*.safetensors")] or [*directory.glob("*.bin")]
    return sum(file.stat().st_size for file in files)


def static_fraction(share: float, memory: Memory) -> float:
    """``--mem-fraction-static``, which SGLang counts from what is free when it starts.

    Raises:
        SettingsError: Less than the share is free.

    Example:
        >>> static_fraction(0.4, Memory(total=80, free=64))
        0.5
    """
    needed = share * memory.total
    if needed > 0.97 * memory.free:
        raise SettingsError(
            f"{needed / 2**30:.1f} GiB of the device's memory are wanted and "
            f"{memory.free / 2**30:.1f} are free: lower --memory, or stop what holds the rest"
        )
    return round(needed / memory.free, 3)


def command(
    model: str, *, host: str, port: int, share: float, flags: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command line of one server, for the device as it is now."""
    given = {flag.partition("=")[0] for flag in flags}
    defaults = dict(FLAGS)
    if has_cuda():
        if "--mem-fraction-static" not in given:
            fraction = static_fraction(share, device_memory())
            defaults["--mem-fraction-static"] = f"{fraction}"
    else:
        defaults |= CPU_FLAGS
    own = [
        part
        for flag, value in defaults.items()
        if flag not in given
        for part in (flag, value)
        if part is not None
    ]
    return (
        *(sys.executable, "-m", "spex_agents.server.worker"),
        *("--model-path", str(Path(model).expanduser()) if weight_bytes(model) else model),
        *("--host", host, "--port", str(port)),
        *own,
        *flags,
    )


def environment(*, plugin: bool) -> dict[str, str]:
    """Of the servers: this process's, and what the device and the plugin ask for."""
    found = dict(os.environ) if has_cuda() else cpu_environment(os.environ)
    named = found.get("SGLANG_PLUGINS") or ",".join(
        sorted(point.name for point in entry_points(group=PLUGINS))
    )
    names = [name for name in named.split(",") if name not in ("", PLUGIN, CPU_PLUGIN)]
    names += [PLUGIN] * plugin + [CPU_PLUGIN] * (not has_cuda())
    found["SGLANG_PLUGINS"] = ",".join(names) or "none"  # an empty list would load them all
    found[LAUNCHER] = str(os.getpid())
    return found
