"""Runs ``spex serve`` and sees to it that nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import SPEX, eventually, name_of, writing_to

RIDGE = 4
"""Of the servers that are given one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A ``spex serve`` that runs; all its processes write to `logs`."""

    process: subprocess.Popen[str]
    logs: Path

    def ready(self) -> dict[str, dict[str, str]]:
        """What it prints once all are ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.logs / "launcher.log").read_text()
        found: dict[str, dict[str, str]] = json.loads(line)
        return found

    def nothing_left(self) -> bool:
        return eventually(lambda: not writing_to(self.logs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Addresses without a path, and where the servers' logs are."""

    policy: str
    reward: str
    logs: Path


@contextmanager
def launch(logs: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Launched]:
    """Run ``spex serve``; it is asked to stop on the way out, and nothing of it may be left.

    Args:
        logs: Directory that all its processes write to.
        arguments: Of the command line.
        env: Beside this process's own environment.
    """
    with (logs / "launcher.log").open("w") as output:
        process = subprocess.Popen(
            [*SPEX, "serve", "--port", "0", "--logs", str(logs), "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env={**os.environ, **(env or {})},
        )
    launched = Launched(process=process, logs=logs)
    try:
        with process:
            try:
                yield launched
            finally:
                process.terminate()
        assert process.returncode in (0, -9), (logs / "launcher.log").read_text()
        assert launched.nothing_left(), [name_of(left) for left in writing_to(logs)]
    finally:
        for left in writing_to(logs):
            os.kill(left, 9)
