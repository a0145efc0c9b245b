"""Workspaces: files, commands, and forks, laid over each other or copied, behind each wall."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spex_agents.errors import SettingsError
from spex_agents.sandbox import Isolation, SandboxLimits, Workspace
from spex_agents.sandbox.run import why_not

LIMITS = SandboxLimits(seconds=60.0, memory=256 << 20, files=1 << 20)
CHANGES = """
rm -r folder; mkdir folder; echo new > folder/new
rm gone; echo more >> kept; ln -s /etc/passwd link; mkdir -p deep/er; echo deep > deep/er/file
"""


@pytest.fixture(params=["bubblewrap", pytest.param("namespaces", marks=pytest.mark.slow)])
def wall(request: pytest.FixtureRequest) -> Isolation:
    if (fault := why_not(request.param)) is not None:
        pytest.skip(f"{request.param}: {fault}")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A directory of the host, which no workspace may change."""
    place = tmp_path / "given"
    (place / "folder").mkdir(parents=True)
    for name in ("folder/old", "gone", "kept"):
        (place / name).write_text(f"{name}\n")
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("secret")
    return place


@pytest.fixture(params=["laid", "copied"])
async def workspace(
    request: pytest.FixtureRequest, wall: Isolation, given: Path
) -> AsyncIterator[Workspace]:
    async with await Workspace.open(given, limits=LIMITS, isolation=wall) as opened:
        if request.param == "copied":
            opened._store.overlay = False
        elif not opened._store.overlay:
            pytest.skip("the kernel lets this process lay no directories over each other")
        yield opened


async def test_a_run_changes_its_own_workspace_alone(workspace: Workspace, given: Path) -> None:
    assert workspace.files() == ["folder/old", "gone", "kept"]
    fork = workspace.fork()
    assert (await fork.run(["sh", "-c", CHANGES])).ok
    assert fork.files() == ["deep/er/file", "folder/new", "kept"]
    assert (fork.read("kept"), fork.read("folder/new")) == (b"kept\nmore\n", b"new\n")
    assert workspace.files() == ["folder/old", "gone", "kept"]
    assert workspace.read("kept") == b"kept\n"
    assert (given / "kept").read_text() == "kept\n"
    assert sorted(os.listdir(given)) == [".git", "folder", "gone", "kept"]


async def test_each_stands_on_what_it_was_forked_from(workspace: Workspace) -> None:
    workspace.write("kept", "written")
    child = workspace.fork()
    child.write("deep/er/file", "child")
    grandchild = child.fork()
    workspace.write("kept", "again")
    child.write("deep/er/file", "changed")
    said = await grandchild.run(["sh", "-c", "cat kept deep/er/file; echo own > kept"])
    assert said.stdout == "writtenchild"
    assert [one.read("kept") for one in (workspace, child, grandchild)] == [
        b"again",
        b"written",
        b"own\n",
    ]


async def test_what_a_program_has_made_is_no_way_out(workspace: Workspace) -> None:
    assert (await workspace.run(["sh", "-c", CHANGES])).ok
    for path in ("gone", "folder/old", "link/x"):
        with pytest.raises(FileNotFoundError):
            workspace.read(path)
    for path in ("link", "folder", "../given/kept", "/etc/passwd", ""):
        with pytest.raises(SettingsError):
            workspace.read(path)
    with pytest.raises(SettingsError, match="link is no directory"):
        workspace.write("link/x", "x")
    workspace.write("link", "a file now")
    assert (await workspace.run(["cat", "link"])).stdout == "a file now"


async def test_a_run_that_was_stopped_changes_nothing(workspace: Workspace) -> None:
    hurried = SandboxLimits(seconds=1.0, memory=256 << 20)
    stopped = await workspace.run(["sh", "-c", "echo x > kept; sleep 9"], limits=hurried)
    assert (stopped.status, workspace.read("kept")) == ("time", b"kept\n")
    failed = await workspace.run(["sh", "-c", "echo x > kept; exit 3"])
    assert (failed.code, workspace.read("kept")) == (3, b"x\n")


async def test_what_it_may_write_is_bounded(workspace: Workspace) -> None:
    many = "for i in 1 2 3 4 5; do head -c 500000 /dev/zero > big$i || exit 7; done"
    assert (await workspace.run(["sh", "-c", many])).code == 7


async def test_runs_of_forks_go_side_by_side(workspace: Workspace) -> None:
    forks = [workspace.fork() for _ in range(4)]
    ran = await asyncio.gather(
        *(fork.run(["sh", "-c", f"echo {i} > kept; cat kept"]) for i, fork in enumerate(forks))
    )
    assert [one.stdout for one in ran] == ["0\n", "1\n", "2\n", "3\n"]
    assert [fork.read("kept") for fork in forks] == [b"0\n", b"1\n", b"2\n", b"3\n"]


async def test_many_layers_become_one(workspace: Workspace) -> None:
    for number in range(120):
        workspace = workspace.fork()
        workspace.write(f"file{number}", str(number))
    assert (await workspace.run(["sh", "-c", "cat file0 file119; rm gone"])).stdout == "0119"
    assert len(workspace._layers) < 5
    assert len(workspace.files()) == 122


@pytest.mark.slow
async def test_it_has_the_packages_of_an_environment(wall: Isolation, given: Path) -> None:
    (given / "test_it.py").write_text("import httpx\n\ndef test_it():\n    assert 1 == 2\n")
    opened = await Workspace.open(
        given,
        limits=SandboxLimits(seconds=120.0, cpu_seconds=60),
        packages=sys.prefix,
        isolation=wall,
    )
    async with opened as workspace:
        tested = await workspace.fork().run(["pytest", "-q", "-p", "no:cacheprovider"])
        assert (tested.code, "1 failed" in tested.stdout) == (1, True), tested
        wrote = await workspace.run(["touch", f"{sys.prefix}/escaped"])
        assert "Read-only file system" in wrote.stderr


async def test_closing_leaves_nothing(given: Path, wall: Isolation) -> None:
    before = set(Path(tempfile.gettempdir()).glob("spex-*"))  # noqa: ASYNC240
    async with await Workspace.open(given, isolation=wall) as workspace:
        await workspace.fork().run(["true"])
    assert set(Path(tempfile.gettempdir()).glob("spex-*")) <= before  # noqa: ASYNC240


async def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be a directory"):
        await Workspace.open(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="must be a virtual environment"):
        await Workspace.open(tmp_path, packages=tmp_path)
    with pytest.raises(SettingsError, match="kept apart, or not at all"):
        await Workspace.open(tmp_path, isolation="none")
