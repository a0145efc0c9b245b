"""A directory for programs to work in: several files, a command to run, forks that cost nothing.

The files of a workspace are layers of directories laid over each other (overlayfs): a fork is a
list of names, a run writes a new layer, in memory until it ends. Where the kernel does not let this
process lay them, a workspace is one directory, copied by the first change after a fork.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from spex_agents.errors import SettingsError
from spex_agents.sandbox.isolation import Isolation
from spex_agents.sandbox.launching import Layers, other_user
from spex_agents.sandbox.laying import find, kind_is, walk
from spex_agents.sandbox.limits import Outcome, SandboxLimits
from spex_agents.sandbox.process import Job
from spex_agents.sandbox.run import performed
from spex_agents.sandbox.store import Store

_MOST_LAYERS = 100


@dataclass(kw_only=True, eq=False)
class Workspace:
    """A directory of files to change and to run commands in, apart from the system.

    Get one with `open`, and the others by `fork`. All end with the first one.
    """

    _store: Store = field(repr=False)
    _layers: tuple[str, ...] = ()
    _own: bool = False  # whether the top layer is this workspace's alone, to be written to
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @classmethod
    async def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        limits: SandboxLimits = SandboxLimits(),
        packages: str | os.PathLike[str] | None = None,
        isolation: Isolation = "auto",
    ) -> Workspace:
        r"""A workspace with a copy of a directory's files, taken now.

        Args:
            directory: What to copy, but what `sandbox.store.LEFT_OUT` names.
            limits: Of each run; `files` bounds what one may write.
            packages: A virtual environment whose programs and packages runs have, read-only.
            isolation: What keeps runs apart; "none" is not for workspaces.

        Raises:
            SettingsError: There is no such directory or environment, or this system offers no such
                isolation, or lets this process mount nothing even in a namespace of its own.

        Example:
            >>> import asyncio, tempfile
            >>> async def answer():
            ...     with tempfile.TemporaryDirectory() as place:
            ...         async with await Workspace.open(place) as workspace:
            ...             workspace.write("answer.py", "print(6 * 7)")
            ...             return (await workspace.run(["python3", "answer.py"])).stdout
            >>> asyncio.run(answer())
            '42\n'
        """
        given, environment = Path(directory), None if packages is None else Path(packages)
        _check(given, environment)
        if isolation == "none":
            raise SettingsError("isolation='none': a workspace is kept apart, or not at all")
        store = Store(
            place=Path(tempfile.mkdtemp(prefix="spex-")),
            user=other_user(),
            overlay=True,
            limits=limits,
            packages=environment,
            isolation=isolation,
        )
        taken = store.new()
        workspace = cls(_store=store, _layers=(taken,))
        try:
            await asyncio.to_thread(store.take, taken, given)
            try:
                await workspace.fork().run(["true"])
            except SettingsError:
                store.overlay = False
                await workspace.fork().run(["true"])
        except BaseException:
            workspace.close()
            raise
        return workspace

    async def __aenter__(self) -> Workspace:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files of the first workspace, and so of all that were forked from it."""
        shutil.rmtree(self._store.place, ignore_errors=True)

    def fork(self) -> Workspace:
        """A workspace with the same files; neither sees what becomes of the other's."""
        self._own = False  # both lay what they write on the layers of now
        return Workspace(_store=self._store, _layers=self._layers)

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: There is none.
            SettingsError: The path leads out, or to what is no file: a link is not followed.
        """
        found = find(self._places, _inside(path))
        if found is None:
            raise FileNotFoundError(path)
        if not stat.S_ISREG(found.lstat().st_mode):
            raise SettingsError(f"path={path!r}: is no file")
        return found.read_bytes()

    def files(self) -> list[str]:
        """The paths of all files, in order."""
        return sorted(
            str(path) for path, found in walk(self._places) if kind_is(found, stat.S_ISREG)
        )

    def write(self, path: str, content: str | bytes) -> None:
        """Make a file, or give it another content.

        Raises:
            SettingsError: The path leads out, or through what is no directory.
        """
        parts, data = _inside(path), content.encode() if isinstance(content, str) else content
        before = find(self._places, parts)
        top = self._top()
        for depth in range(1, len(parts)):
            there = find(self._places, parts[:depth])
            if there is not None and not kind_is(there, stat.S_ISDIR):
                raise SettingsError(f"path={path!r}: {'/'.join(parts[:depth])} is no directory")
            here = top.joinpath(*parts[:depth])
            if not here.is_dir():
                here.mkdir()
                self._store.own(here)
        mode = 0o644 if before is None else stat.S_IMODE(before.lstat().st_mode) | 0o200
        handle, name = tempfile.mkstemp(dir=top.joinpath(*parts[:-1]))
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode & 0o777)
        self._store.own(Path(name))
        os.replace(name, top.joinpath(*parts))

    async def run(
        self, command: Sequence[str], *, stdin: str = "", limits: SandboxLimits | None = None
    ) -> Outcome:
        """Run a command in the workspace, one at a time; its files are changed by what it writes.

        A run that a cap has ended changes nothing.

        Args:
            command: A program, found as a shell would, and its arguments.
            stdin: What it reads.
            limits: Other caps than the workspace's.

        Raises:
            SettingsError: This system offers no such isolation.
        """
        store, limits = self._store, limits or self._store.limits
        environment = {"PYTHONDONTWRITEBYTECODE": "1"}
        shown: dict[str, Path] = {}
        if store.packages is not None:
            shown = {str(place): place for place in _environment(store.packages)}
            environment["PATH"] = f"{store.packages}/bin:/usr/bin:/usr/sbin:/bin:/sbin"
            environment["VIRTUAL_ENV"] = str(store.packages)
        async with self._turn:
            if store.overlay and len(self._layers) >= _MOST_LAYERS:
                merged = store.new()
                await asyncio.to_thread(store.merge, merged, self._layers)
                self._layers = (merged,)
            self._own = False
            size = limits.files
            if not store.overlay:
                size += await asyncio.to_thread(store.size, self._layers)
            written: list[str] = []

            def keep(place: Path) -> None:
                if not store.overlay or any(place.iterdir()):
                    written.append(store.new())
                    place.rename(store.place / written[0])

            job = Job(
                command=command,
                stdin=stdin.encode(),
                limits=limits,
                shown=shown,
                environment=environment,
                layers=Layers(store.place, self._layers, store.overlay, size, store.user or 0),
                keep=keep,
            )
            outcome = await performed(job, store.isolation)
            if written:
                self._layers = (*written, *(self._layers if store.overlay else ()))
            return outcome

    @property
    def _places(self) -> list[Path]:
        return self._store.places(self._layers)

    def _top(self) -> Path:
        store = self._store
        if not self._own:
            name = store.new()
            if store.overlay:
                store.make(name)
                self._layers = (name, *self._layers)
            else:
                store.merge(name, self._layers)
                self._layers = (name,)
            self._own = True
        return store.place / self._layers[0]


def _check(directory: Path, packages: Path | None) -> None:
    if not directory.is_dir():
        raise SettingsError(f"directory={str(directory)!r}: must be a directory")
    if packages is not None and not (packages / "pyvenv.cfg").is_file():
        raise SettingsError(
            f"packages={str(packages)!r}: must be a virtual environment, with a pyvenv.cfg"
        )


def _inside(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise SettingsError(f"path={path!r}: must be relative, and stay inside")
    return parts


def _environment(packages: Path) -> Iterator[Path]:
    """A virtual environment, and the installation that its interpreter is of."""
    yield packages
    for line in (packages / "pyvenv.cfg").read_text().splitlines():
        key, _, value = line.partition("=")
        home = Path(value.strip()).resolve().parent
        if key.strip() == "home" and not home.is_relative_to("/usr"):
            yield home
