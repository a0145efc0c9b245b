"""A PostgreSQL of a test's own, or a database of one, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

PLACES = os.pathsep.join(
    [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
)

PATIENTLY = ("--wait", "--timeout", "600")


@dataclass(frozen=True, slots=True)
class Postgres:
    """Running; `url` reaches it by a socket in its directory."""

    url: str
    directory: str
    become: str | None

    def control(self, *what: str) -> None:
        """Run pg_ctl on it."""
        pg_ctl = shutil.which("pg_ctl", path=PLACES)
        self.run(pg_ctl or "pg_ctl", "--pgdata", f"{self.directory}/data", *PATIENTLY, *what)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.directory}' "
        options += "-c fsync=off"  # its files need not outlive the machine
        self.control("--log", f"{self.directory}/log", "--options", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.control("--mode", mode, "stop")

    def with_database(self) -> Postgres:
        """The same server, with a new database: that takes a tenth of the time of a new server."""
        name = uuid4().hex
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return replace(self, url=f"postgresql://spex@/{name}?host={self.directory}")

    def run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            cwd=self.directory,
            user=self.become,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _owner() -> str | None:
    """Who may run a server: never root."""
    names = [entry.pw_name for entry in pwd.getpwall()]
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    return "postgres" if "postgres" in names else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start one, or skip the test."""
    initdb = shutil.which("initdb", path=PLACES)
    if initdb is None or (user := _owner()) is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl, and a user to run them")
    with tempfile.TemporaryDirectory(prefix="pg-") as directory:
        shutil.chown(directory, user)
        become = user if os.geteuid() == 0 else None
        url = f"postgresql://spex@/postgres?host={directory}"
        server = Postgres(url, directory, become)
        options = ("--no-sync", "--auth", "trust", "--username", "spex")
        server.run(initdb, "--pgdata", f"{directory}/data", *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
