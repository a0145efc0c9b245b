"""What the embedded engine finds on a machine: processors, and where its model is."""

import os
from pathlib import Path

import pytest

from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.embedded.lanes import Arrangement, fastest
from spex_agents.engines.embedded.machine import processors
from spex_agents.engines.embedded.models import Model
from spex_agents.errors import EngineError, SettingsError


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc/self/cgroup": "0::/system.slice/search.service\n",
                "sys/fs/cgroup/system.slice/search.service/cpu.max": "max 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/box\n4:cpuset:/box\n2:cpu,cpuacct:/box\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_processors_are_those_of_the_affinity_within_every_quota(
    tmp_path: Path, files: dict[str, str], count: int
) -> None:
    assert processors(write(tmp_path, files)) == count


class Timed:
    """Lanes whose steps take the seconds that `cost` says."""

    def __init__(self, arrangement: Arrangement, clock: "Clock") -> None:
        self.arrangement, self._clock, self.closed = arrangement, clock, False
        clock.made.append(self)

    def share(self, source: int, target: int, length: int) -> None:
        """Nothing is kept."""

    def evaluate(self, entries: list[tuple[int, int, int, bool]]) -> None:
        active = min(self.arrangement.lanes, len(entries))
        threads = self.arrangement.threads(active, len(entries))
        self._clock.now += self._clock.step(active, threads, len(entries))

    def close(self) -> None:
        self.closed = True


class Clock:
    """A machine on which waiting for each other costs `wait` a thread, and weights a lane `read`.

    The seconds of a step: what its lanes compute at the same time, and these.
    """

    def __init__(self, *, wait: float, read: float) -> None:
        self.now, self.wait, self.read = 0.0, wait, read
        self.made: list[Timed] = []

    def step(self, active: int, threads: int, tokens: int) -> float:
        return tokens / active / threads + self.wait * (threads - 1) + self.read * active


@pytest.mark.parametrize(
    ("wait", "read", "found"),
    [
        (1.0, 0.1, (4, {1: 1, 4: 2, 32: 4})),  # waiting is dear: a lane a processor
        (0.01, 30.0, (1, {1: 4, 4: 4, 32: 4})),  # memory is: one lane with all threads
    ],
)
def test_the_fastest_arrangement_is_found(
    monkeypatch: pytest.MonkeyPatch, wait: float, read: float, found: tuple[int, dict[int, int]]
) -> None:
    clock = Clock(wait=wait, read=read)
    monkeypatch.setattr("spex_agents.engines.embedded.lanes.perf_counter", lambda: clock.now)
    best = fastest(lambda one: Timed(one, clock), slots=16, processors=4)  # type: ignore[arg-type, return-value]
    assert (best.lanes, best.alone) == found
    assert best.threads(1, 1) == found[1][1]
    assert best.threads(2, 8) == 2
    assert [lanes.closed for lanes in clock.made] == [True] * 3


def test_with_one_processor_nothing_is_tried() -> None:
    def refuse(_: Arrangement) -> object:
        raise AssertionError

    best = fastest(refuse, slots=16, processors=1)  # type: ignore[arg-type]
    assert (best.lanes, best.threads(1, 64)) == (1, 1)


def test_even_lanes_have_one_number_of_threads_whatever_they_evaluate() -> None:
    even = Arrangement(lanes=2, processors=4, alone={1: 1, 4: 4}).even()
    assert {even.threads(active, 16) for active in (1, 2)} == {even.threads(1, 1)} == {2}


def test_a_model_of_the_hub_is_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = "models--someone--tiny-GGUF/snapshots/0123456789abcdef0123456789abcdef01234567"
    write(
        tmp_path,
        {
            "models--someone--tiny-GGUF/refs/main": "0123456789abcdef0123456789abcdef01234567",
            f"{snapshot}/q4/tiny.gguf": "weights",
        },
    )
    model = Model("someone/tiny-GGUF/q4/tiny.gguf")
    assert model.path.stem == "tiny"
    assert model.fetched().read_text() == "weights"


async def test_a_model_of_the_hub_that_is_out_of_reach_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    engine = EmbeddedEngine("someone/tiny-GGUF/tiny.gguf")
    assert engine.name == "embedded/tiny"
    expected = r"model='someone/tiny-GGUF/tiny\.gguf': is no file here, .*cannot be fetched"
    with pytest.raises(EngineError, match=expected):
        await engine.__aenter__()


@pytest.mark.parametrize("name", ["tiny.gguf", "someone/tiny.gguf", "/a/b/tiny.gguf", "a/b/c.bin"])
def test_what_is_neither_a_file_nor_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        Model(name)
