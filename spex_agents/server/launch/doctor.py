"""What is missing to serve models on this machine, and how to get it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

from spex_agents.errors import SettingsError
from spex_agents.server.cpu.device import device_memory, has_cuda
from spex_agents.server.launch.command_lines import PLUGIN, environment
from spex_agents.server.launch.memory import MPS, shares, takes_turns, weight_bytes
from spex_agents.server.launch.settings import INSTALL, Serving, check_model, choose_port
from spex_agents.server.plugin.hooks import KNOWN_VERSIONS, losses

GIB = 2**30
LOADS_WITHIN = 180.0
SMALLEST_MEMORY = 4 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        ok: Whether it serves.
        found: What is there.
        remedy: What to do if it does not serve.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""


def examine(
    *,
    policy: str | None = None,
    reward: str | None = None,
    host: str = "127.0.0.1",
    port: int = 30000,
) -> list[Check]:
    """Look at everything `serve` needs; the import of SGLang takes up to a minute."""
    checks = [_package("sglang"), _package("torch")]
    if all(check.ok for check in checks):
        checks.append(_loads())
    checks += [
        _package("sglang-router"),
        _plugin(),
        _device(),
        _memory(policy, reward),
        _turns(policy, reward),
        _port(host, port),
    ]
    checks += [
        _model(name, model)
        for name, model in (("policy", policy), ("reward", reward))
        if model is not None
    ]
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name=name, ok=True, found=version(name))
    except PackageNotFoundError:
        return Check(name=name, ok=False, found=f"not in {sys.prefix}", remedy=INSTALL)


def _loads() -> Check:
    """Whether SGLang can be imported as its servers import it."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", "import sgl_kernel, sglang.srt.entrypoints.http_server"],
            env=environment(plugin=False),
            capture_output=True,
            text=True,
            timeout=LOADS_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        said = f"no end after {LOADS_WITHIN:.0f} s"
    else:
        if run.returncode == 0:
            return Check(name="SGLang loads", ok=True, found="yes")
        said = (run.stderr.strip().splitlines() or ["no word"])[-1]
    return Check(
        name="SGLang loads", ok=False, found=said, remedy=f"in a new virtual environment: {INSTALL}"
    )


def _plugin() -> Check:
    points = [point for point in entry_points(group="sglang.srt.plugins") if point.name == PLUGIN]
    if not points:
        found, remedy = "spex-agents is not installed with it", "pip install spex-agents once more"
        return Check(name="plugin", ok=False, found=found, remedy=remedy)
    try:
        points[0].load()
    except Exception as error:
        remedy = "reinstall: pip install --force-reinstall --no-deps spex-agents"
        return Check(name="plugin", ok=False, found=repr(error), remedy=remedy)
    with suppress(PackageNotFoundError):
        _, line = losses(version("sglang"))
        if line:
            remedy = f"pip install sglang=={KNOWN_VERSIONS[-1]}, unless a setting is at fault"
            return Check(name="plugin", ok=False, found=line, remedy=remedy)
    return Check(name="plugin", ok=True, found=points[0].value)


def _device() -> Check:
    if has_cuda():
        return Check(name="device", ok=True, found="CUDA")
    found = "no CUDA device: SGLang runs on the CPU, in float32, for tests and small models"
    return Check(name="device", ok=sys.platform == "linux", found=found, remedy="serve on Linux")


def _memory(policy: str | None, reward: str | None) -> Check:
    memory = device_memory()
    weights = {model: weight_bytes(model) for model in (policy, reward) if model is not None}
    found = f"{memory.free / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    for model, size in weights.items():
        found += (
            f", {model} takes {size / GIB:.1f}" if size else f", the size of {model} is unknown"
        )
    ok = memory.free > max(SMALLEST_MEMORY, 1.2 * sum(weights.values()))
    if ok and has_cuda() and policy is not None and reward is not None:
        try:
            parts = shares(Serving(policy=policy, reward=reward), memory.total)
        except SettingsError as error:
            ok, found = False, str(error)
        else:
            found += "; of it {:.0%} for the policy, {:.0%} for the reward".format(*parts)
            found += ", the rest for CUDA graphs"
    remedy = "stop what holds the memory, or take smaller models"
    return Check(name="memory", ok=ok, found=found, remedy=remedy)


def _turns(policy: str | None, reward: str | None) -> Check:
    """Whether two servers on one GPU compute at the same time; without it they still serve."""
    if policy is None or reward is None or not has_cuda():
        return Check(name="MPS", ok=True, found="not needed")
    waits = takes_turns(policy, reward)
    found = "not running: policy and reward take turns on the GPU" if waits else "running"
    return Check(name="MPS", ok=not waits, found=found, remedy=MPS)


def _port(host: str, port: int) -> Check:
    try:
        choose_port(host, port)
    except SettingsError as error:
        return Check(name="port", ok=False, found=str(error), remedy="spex serve --port 0")
    return Check(name="port", ok=True, found=f"{host}:{port} is free")


def _model(name: str, model: str) -> Check:
    try:
        check_model(name, model)
    except SettingsError as error:
        remedy = "spex model convert --gguf smollm2 --out DIR writes a small one"
        return Check(name=name, ok=False, found=str(error), remedy=remedy)
    if Path(model).expanduser().is_dir():
        return Check(name=name, ok=True, found=model)
    if find_spec("huggingface_hub") is not None:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (seconds)

        if isinstance(try_to_load_from_cache(model, "config.json"), str):
            return Check(name=name, ok=True, found=f"{model}, downloaded")
    return Check(name=name, ok=True, found=f"{model}, to be downloaded at the start")
