"""Programs that try to get out, or to take more than their share."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from processes import PATIENCE

from spex_agents.errors import SettingsError
from spex_agents.sandbox import Isolation, Outcome, SandboxLimits, run
from spex_agents.sandbox.cgroups import Group, Unavailable
from spex_agents.sandbox.process import WallFailed
from spex_agents.sandbox.run import _STANDING, why_not

WALLS: tuple[Isolation, ...] = ("bubblewrap", "namespaces")
SMALL = SandboxLimits(seconds=20.0, memory=256 << 20, processes=16, files=1 << 20, output=1 << 16)
HURRIED = SandboxLimits(seconds=0.5, memory=256 << 20)
LONG = SandboxLimits(seconds=2 * PATIENCE)
SLEEP = f"import time; time.sleep({PATIENCE})"


@pytest.fixture(params=WALLS)
def wall(request: pytest.FixtureRequest) -> Isolation:
    if (fault := why_not(request.param)) is not None:
        pytest.skip(f"{request.param}: {fault}")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Finds what runs behind a wall of this test: there a directory of its own is mounted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = "/".join(tmp_path.parts[-2:]).encode()

    def find() -> list[str]:
        found = []
        for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
            with suppress(OSError):  # it has ended
                if place in mounts.read_bytes():
                    found.append(mounts.parent.name)
        return found

    return find


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    """A port of this host that something answers on."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def tried(program: str, wall: Isolation, limits: SandboxLimits = SMALL) -> Outcome:
    return await run(textwrap.dedent(program), limits=limits, isolation=wall)


async def test_a_program_gets_its_input_and_its_output_comes_back(wall: Isolation) -> None:
    program = (
        "import sys; print(sys.stdin.read().upper()); print('ä', file=sys.stderr); sys.exit(3)"
    )
    outcome = await run(textwrap.dedent(program), "grüße", SMALL, isolation=wall)
    assert (outcome.stdout, outcome.stderr) == ("GRÜSSE\n", "ä\n")
    assert (outcome.status, outcome.code, outcome.isolation) == ("failed", 3, wall)
    assert (await tried("x = 1", wall)).ok


async def test_it_sees_nothing_of_the_host_but_programs_and_libraries(
    wall: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = f"""
        import os
        for path in ({str(secret)!r}, {str(Path(__file__))!r}, "/etc/passwd", "/etc/shadow",
                     "/proc/1/environ", "/proc/self/root", "/old", "/home", "/var", "/run", "/sys"):
            assert not os.path.exists(path), path
        assert "OUTSIDE" not in os.environ
        assert set(os.listdir("/dev")) == {{"null", "zero", "random", "urandom"}}
    """
    monkeypatch.setenv("OUTSIDE", "1")
    outcome = await tried(program, wall)
    assert outcome.ok, outcome


async def test_it_changes_nothing_of_the_host(wall: Isolation, tmp_path: Path) -> None:
    program = f"""
        import os, sys
        for path in ("/usr/escaped", "/bin/escaped", "/code/program.py", sys.executable,
                     os.__file__, os.path.dirname(os.__file__) + "/escaped.py"):
            try:
                open(path, "a")
            except OSError:
                continue
            raise SystemExit(f"wrote {{path}}")
        os.makedirs("/tmp" + {str(tmp_path)!r})
        open("/tmp" + {str(tmp_path)!r} + "/mine", "w").write("mine")
    """
    outcome = await tried(program, wall)
    assert outcome.ok, outcome
    assert os.listdir(tmp_path) == []
    assert not os.path.exists(f"/tmp{tmp_path}")  # noqa: S108, ASYNC240


async def test_it_has_no_capability_and_can_get_none(wall: Isolation) -> None:
    program = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for name, arguments in (
            ("unshare", (0x10000000,)),  # a user namespace, in which it would have all
            ("mount", (b"none", b"/tmp", b"tmpfs", 0, None)),
            ("chroot", (b"/tmp",)),
            ("sethostname", (b"x", 1)),
            ("setns", (0, 0)),
        ):
            assert getattr(libc, name)(*arguments) == -1, name
    """
    outcome = await tried(program, wall)
    assert outcome.ok, outcome


async def test_it_may_not_ask_the_kernel_for_what_has_let_others_out(wall: Isolation) -> None:
    program = """
        import ctypes, errno, os, platform, socket
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(21, 0, 0, 0, 0) == 2  # PR_GET_SECCOMP: a filter
        calls = {"x86_64": {"bpf": 321, "userfaultfd": 323, "keyctl": 250, "ptrace": 101,
                            "io_setup": 206},
                 "aarch64": {"bpf": 280, "userfaultfd": 282, "keyctl": 219, "ptrace": 117,
                             "io_setup": 0}}
        everywhere = {"io_uring_setup": 425, "memfd_secret": 447}
        for name, number in {**calls[platform.machine()], **everywhere}.items():
            assert libc.syscall(number, 0, 0, 0, 0) == -1, name
            assert ctypes.get_errno() == errno.EPERM, (name, ctypes.get_errno())
        for family in (socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, 38):
            try:
                socket.socket(family, socket.SOCK_RAW)
            except PermissionError:
                continue
            raise SystemExit(f"opened a socket of family {family}")
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
            socket.socket(family).close()
        if os.fork() == 0:
            assert libc.prctl(21, 0, 0, 0, 0) == 2
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    """
    outcome = await tried(program, wall)
    assert outcome.ok, outcome


async def test_it_reaches_no_network(wall: Isolation, listening: int) -> None:
    program = f"""
        import socket
        for host in ("127.0.0.1", "192.0.2.1"):
            try:
                socket.create_connection((host, {listening}), timeout=5)
            except OSError:
                continue
            raise SystemExit(f"reached {{host}}")
        try:
            socket.getaddrinfo("example.org", 80)
        except OSError:
            pass
        else:
            raise SystemExit("resolved a name")
    """
    socket.create_connection(("127.0.0.1", listening)).close()
    outcome = await tried(program, wall)
    assert outcome.ok, outcome


async def test_it_cannot_kill_what_started_it(wall: Isolation) -> None:
    program = f"""
        import os, signal
        for pid in ({os.getpid()}, os.getppid(), 1, -1):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        print("still here")
    """
    beside = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    try:
        outcome = await tried(program, wall)
        assert outcome.stdout == "still here\n", outcome
        assert beside.returncode is None
    finally:
        await beside.communicate(b"\n")


async def test_an_endless_loop_ends(wall: Isolation) -> None:
    outcome = await tried("while True: pass", wall, HURRIED)
    assert outcome.status == "time"
    burnt = SandboxLimits(seconds=PATIENCE, cpu_seconds=1)
    outcome = await tried("while True: pass", wall, burnt)
    assert (outcome.status, outcome.seconds < PATIENCE) == ("time", True)


async def test_what_ignores_signals_and_leaves_its_group_ends_too(
    wall: Isolation, left: Callable[[], list[str]]
) -> None:
    program = """
        import os, signal, time
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
        os.close(1); os.close(2)
        time.sleep(1000)
    """
    outcome = await tried(program, wall, HURRIED)
    assert outcome.status == "time"
    assert left() == []


async def test_memory_is_capped_for_one_and_for_all(wall: Isolation) -> None:
    one = await tried("x = bytearray(1 << 30)", wall)
    assert (one.status, "MemoryError" in one.stderr) == ("failed", True)
    program = """
        import os, time
        for _ in range(7):
            if os.fork() == 0:
                break
        x = b"x" * (100 << 20)
        time.sleep(1000)
    """
    assert (await tried(program, wall)).status == "memory"


async def test_files_are_capped_one_by_one_and_in_all(wall: Isolation) -> None:
    program = """
        import errno, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        written = 0
        try:
            for number in range(100):
                with open(f"file{number}", "wb") as file:
                    written += file.write(b"x" * (512 << 10))
        except OSError as error:
            print(error.errno == errno.ENOSPC, written < 2 << 20)
        try:
            open("/tmp/big", "wb").write(b"x" * (2 << 20))
        except OSError:
            print("too big")
    """
    outcome = await tried(program, wall)
    assert outcome.stdout == "True True\ntoo big\n", outcome


async def test_output_is_capped(wall: Isolation) -> None:
    outcome = await tried("while True: print('x' * 10000)", wall)
    assert outcome.status == "output"
    assert len(outcome.stdout) == SMALL.output


async def test_cancelling_kills_the_program(wall: Isolation, left: Callable[[], list[str]]) -> None:
    task = asyncio.create_task(run(SLEEP, limits=LONG, isolation=wall))
    while not left():  # noqa: ASYNC110 (another process tells nobody)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left() == []


async def test_without_a_wall_the_caps_remain() -> None:
    assert (await tried("print(6 * 7)", "none")).stdout == "42\n"
    assert (await tried("while True: pass", "none", HURRIED)).status == "time"
    assert (await tried("x = bytearray(1 << 30)", "none")).status == "failed"


async def test_a_wall_that_does_not_stand_is_no_wall_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _STANDING.clear()
    with monkeypatch.context() as nowhere:
        nowhere.setenv("PATH", "/nowhere")
        with pytest.raises(SettingsError, match=r"no program bwrap, setpriv.*Install bubblewrap"):
            await run("x = 1")
        assert (await run("x = 1", isolation="none")).ok
    assert (await run("x = 1")).ok


async def test_a_wall_that_fell_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from spex_agents.sandbox import process  # noqa: PLC0415

    begin, calls = process._begin, []

    def fails_once(*arguments: object, **more: object) -> Outcome:
        calls.append(arguments)
        if len(calls) == 1:
            raise WallFailed("the table of processes is full")
        return begin(*arguments, **more)  # type: ignore[arg-type]

    assert (await run("x = 1")).ok
    monkeypatch.setattr(process, "_begin", fails_once)
    assert (await run("print(1)")).stdout == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="for root")
async def test_root_is_refused_where_nothing_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_group(limits: SandboxLimits) -> Group:
        raise Unavailable("read-only file system")

    def nobody_else() -> int:
        raise PermissionError

    monkeypatch.setattr(Group, "create", no_group)
    assert (await run("x = 1")).caps == "process"
    monkeypatch.setattr("spex_agents.sandbox.process.other_user", nobody_else)
    with pytest.raises(SettingsError, match=r"no control group .*read-only.*let control groups"):
        await run("x = 1")
    assert (await run("x = 1", isolation="none")).ok


@pytest.mark.parametrize(
    ("program", "status", "code"),
    [
        ("import sys; sys.exit(200)", "failed", 200),
        ("import sys; sys.exit(152)", "failed", 152),
        ("import sys; sys.exit(255)", "failed", 255),
        ("import os; os.kill(os.getpid(), 9)", "failed", -9),
        ("import os; os.abort()", "failed", -6),
        ("import os; os.write(2, b'bwrap: failed'); os._exit(1)", "failed", 1),
    ],
)
async def test_how_it_ended_is_told_as_it_is(
    wall: Isolation, program: str, status: str, code: int
) -> None:
    outcome = await tried(program, wall)
    assert (outcome.status, outcome.code) == (status, code)


async def test_it_is_another_user_than_root_outside(
    wall: Isolation, left: Callable[[], list[str]]
) -> None:
    task = asyncio.create_task(run(SLEEP, limits=LONG, isolation=wall))
    owners: set[int] = {0}
    async with asyncio.timeout(PATIENCE):
        while not owners or 0 in owners:
            await asyncio.sleep(0.01)
            with suppress(OSError):
                owners = {os.stat(f"/proc/{pid}").st_uid for pid in left()}
    task.cancel()
    await asyncio.wait([task])
    assert len(owners) == 1


async def test_its_input_is_a_pipe_that_leads_nowhere(wall: Isolation) -> None:
    program = """
        import os, stat, sys
        assert stat.S_ISFIFO(os.fstat(0).st_mode)
        assert sys.stdin.read() == "x" * 300_000
        for number in range(3, 64):
            try:
                os.fstat(number)
            except OSError:
                continue
            raise SystemExit(f"has file {number}")
    """
    outcome = await run(textwrap.dedent(program), "x" * 300_000, SMALL, isolation=wall)
    assert outcome.ok, outcome
    assert (await run("pass", "x" * 300_000, SMALL, isolation=wall)).ok


async def test_runs_wait_in_threads_of_their_own() -> None:
    many = [asyncio.create_task(run(SLEEP, limits=LONG)) for _ in range(40)]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(PATIENCE / 2):  # long before any of them ends
        await asyncio.to_thread(int)
        many[-1].cancel()  # has no thread yet
        await asyncio.wait([many[-1]])
    assert not any(task.done() for task in many[:-1])
    for task in many:
        task.cancel()
    await asyncio.wait(many)


@pytest.mark.parametrize(
    "name", ["seconds", "memory", "processors", "processes", "files", "output"]
)
def test_a_cap_must_be_above_nothing(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        SandboxLimits(**{name: 0})


async def test_an_unknown_isolation_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be one of auto, bubblewrap"):
        await run("", isolation="jail")  # type: ignore[arg-type]
