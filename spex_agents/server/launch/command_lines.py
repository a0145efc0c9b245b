"""The command line and the environment of each server, for the devices as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from spex_agents.engines.sglang.protocol import DEMANDED
from spex_agents.errors import SettingsError
from spex_agents.server.cpu.device import (
    CPU_FLAGS,
    cpu_environment,
    device_memory,
    devices,
    has_cuda,
)
from spex_agents.server.launch.memory import static_fraction
from spex_agents.server.launch.settings import choose_port
from spex_agents.server.launch.worker import LAUNCHER
from spex_agents.server.plugin.scheduling import admission_settings
from spex_agents.server.switch import VARIABLE

PLUGIN = "spex"
CPU_PLUGIN = "spex-cpu"
PROGRAM = (sys.executable, "-m", "spex_agents.server.launch.worker")

FLAGS: Mapping[str, str | None] = {
    "--enable-priority-scheduling": None,
    "--default-priority-value": str(DEMANDED),
    "--radix-eviction-policy": "priority",
    "--retraction-policy": "priority",
    "--enable-metrics": None,
}
"""Given to every server unless the user gives them otherwise."""

ROUTER_FLAGS: Mapping[str, str] = {
    "--health-check-interval-secs": "5",
    "--shutdown-grace-period-secs": "5",
    "--prometheus-host": "127.0.0.1",
}
"""Given to the router likewise: by default it finds a dead worker after minutes."""


def device_groups(workers: int) -> list[str | None]:
    """``CUDA_VISIBLE_DEVICES`` of each worker; None to leave it as it is.

    Raises:
        SettingsError: There are fewer devices than workers.
    """
    if workers == 1 or not has_cuda():
        return [None] * workers
    found = devices()
    if each := len(found) // workers:
        return [",".join(found[i * each : (i + 1) * each]) for i in range(workers)]
    raise SettingsError(f"workers={workers}: must be at most {len(found)}, the GPUs to be had here")


def command(
    model: str,
    *,
    host: str,
    port: int,
    share: float | None,
    flags: Sequence[str] = (),
    visible: str | None = None,
) -> tuple[str, ...]:
    """The command line of one server, for the device as it is now."""
    directory = Path(model).expanduser()
    given = {flag.partition("=")[0] for flag in flags}
    defaults = dict(FLAGS)
    if has_cuda():
        if "--mem-fraction-static" not in given:
            fraction = static_fraction(share, device_memory((visible or "").split(",")[0]))
            if fraction is not None:
                defaults["--mem-fraction-static"] = f"{fraction}"
    else:
        defaults |= CPU_FLAGS
    return (
        *PROGRAM,
        "sglang.launch_server",
        *("--model-path", str(directory) if directory.is_dir() else model),
        *("--host", host, "--port", str(port)),
        *_unless_given(defaults, given),
        *flags,
    )


def router_command(
    urls: Sequence[str], *, host: str, port: int, flags: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command line of a router in front of the workers at `urls`."""
    given = {flag.partition("=")[0] for flag in flags}
    defaults = {**ROUTER_FLAGS, "--prometheus-port": str(choose_port("127.0.0.1", 0))}
    roots = (url.rstrip("/").removesuffix("/v1") for url in urls)
    return (
        *PROGRAM,
        "sglang_router.launch_router",
        *("--worker-urls", *roots),
        *("--host", host, "--port", str(port)),
        *_unless_given(defaults, given),
        *flags,
    )


def _unless_given(defaults: Mapping[str, str | None], given: Set[str]) -> Iterator[str]:
    for flag, value in defaults.items():
        if flag not in given:
            yield from (part for part in (flag, value) if part is not None)


def environment(*, plugin: bool) -> dict[str, str]:
    """Of the servers: this process's, and what the device and the plugin ask for.

    Raises:
        SettingsError: What this process's says to the plugin cannot be.
    """
    if plugin:
        admission_settings(os.environ)
    found = dict(os.environ) if has_cuda() else cpu_environment(os.environ)
    ours = [PLUGIN] * plugin + [CPU_PLUGIN] * (not has_cuda())
    found[VARIABLE] = ",".join(ours)
    if named := found.get("SGLANG_PLUGINS"):  # unset or empty, it loads all that are installed
        others = [name for name in named.split(",") if name not in (PLUGIN, CPU_PLUGIN)]
        found["SGLANG_PLUGINS"] = ",".join([*others, *ours])
    found[LAUNCHER] = str(os.getpid())
    return found
