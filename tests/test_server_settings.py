"""What is served: the command lines, the memory, the ports, and what is refused."""

from __future__ import annotations

import os
import socket
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spex_agents.errors import SettingsError
from spex_agents.server.cpu.device import STAND_IN, Memory, cpu_environment, has_cuda
from spex_agents.server.launch import command_lines, doctor, memory
from spex_agents.server.launch.command_lines import (
    command,
    device_groups,
    environment,
    router_command,
)
from spex_agents.server.launch.memory import shares, static_fraction
from spex_agents.server.launch.settings import Serving, choose_port
from spex_agents.server.switch import VARIABLE, is_on

on_cpu = pytest.mark.skipif(has_cuda(), reason="tells what happens without a GPU")


def write_model(directory: Path, weights: int) -> str:
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"0" * weights)
    return str(directory)


def value_of(argv: tuple[str, ...], flag: str) -> str:
    assert argv.count(flag) == 1
    return argv[argv.index(flag) + 1]


def test_servers_take_priorities() -> None:
    argv = command("owner/name", host="127.0.0.1", port=1, share=0.5)
    assert "--enable-priority-scheduling" in argv
    assert value_of(argv, "--radix-eviction-policy") == "priority"
    assert value_of(argv, "--retraction-policy") == "priority"
    assert value_of(argv, "--default-priority-value") == "0"
    assert value_of(argv, "--model-path") == "owner/name"


def test_flags_of_the_user_win() -> None:
    given = ("--radix-eviction-policy", "lru", "--dtype=bfloat16", "--tp", "2")
    argv = command("owner/name", host="127.0.0.1", port=1, share=0.5, flags=given)
    assert argv[-len(given) :] == given
    assert value_of(argv, "--radix-eviction-policy") == "lru"
    assert "--dtype" not in argv


@on_cpu
def test_a_cpu_is_found_and_served_in_float32() -> None:
    argv = command("owner/name", host="127.0.0.1", port=1, share=0.5)
    assert value_of(argv, "--device") == "cpu"
    assert value_of(argv, "--dtype") == "float32"
    assert {"--sleep-on-idle", "--disable-overlap-schedule"} < set(argv)
    found = environment(plugin=True)
    assert found["PYTHONPATH"].split(os.pathsep)[0] == str(STAND_IN)


def test_the_environment_of_the_user_wins() -> None:
    found = cpu_environment({"OMP_WAIT_POLICY": "ACTIVE", "PYTHONPATH": "/mine"})
    assert found["OMP_WAIT_POLICY"] == "ACTIVE"
    assert found["PYTHONPATH"] == f"{STAND_IN}{os.pathsep}/mine"


def plugins(variable: str, *, plugin: bool) -> list[str]:
    return environment(plugin=plugin)[variable].split(",")


def test_the_plugin_is_named_beside_those_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGLANG_PLUGINS", "mine")
    assert plugins("SGLANG_PLUGINS", plugin=True)[:2] == ["mine", "spex"]
    assert "spex" not in plugins("SGLANG_PLUGINS", plugin=False)


def test_a_user_who_names_no_plugins_keeps_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGLANG_PLUGINS", raising=False)
    assert "SGLANG_PLUGINS" not in environment(plugin=True)


def test_the_plugin_is_switched_on_for_the_servers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not is_on("spex")
    assert "spex" in plugins(VARIABLE, plugin=True)
    assert "spex" not in plugins(VARIABLE, plugin=False)


@on_cpu
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("SPEX_RIDGE", "eight"),
        ("SPEX_RIDGE", "0"),
        ("SPEX_SLOWDOWN", "-0.1"),
        ("SPEX_SLOWDOWN", "nan"),
        ("SPEX_PREFILL_TOKENS", "1.5"),
    ],
)
def test_what_the_environment_says_to_the_plugin_is_checked_before_the_start(
    name: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, given)
    with pytest.raises(SettingsError, match=f"{name}='{given}': must be"):
        environment(plugin=True)
    assert environment(plugin=False)[name] == given  # nobody reads it


def test_the_doctor_says_what_is_lost_with_a_version_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = EntryPoint("spex", "spex_agents.server.plugin.hooks:register", "sglang.srt.plugins")
    monkeypatch.setattr(doctor, "entry_points", lambda group: [ours])
    monkeypatch.setattr(doctor, "version", lambda _: "9.9.9")
    check = doctor._plugin()
    assert not check.ok
    assert "not 9.9.9; lost: admission, abort, promotion, seeds, counters" in check.found
    assert "pip install sglang==" in check.remedy


def test_a_cpu_is_made_faster() -> None:
    assert "spex-cpu" in plugins(VARIABLE, plugin=False)


def test_weights_get_what_they_take_and_caches_the_rest(tmp_path: Path) -> None:
    policy = write_model(tmp_path / "policy", 3000)
    reward = write_model(tmp_path / "reward", 1000)
    serving = Serving(policy=policy, reward=reward, memory=0.8)
    # 8000 for both, 4000 of it for caches: a quarter of that to the reward.
    assert shares(serving, 10_000) == pytest.approx((0.6, 0.2))
    assert shares(serving, 10_000_000) == pytest.approx((0.6, 0.2), abs=1e-3)


def test_the_smaller_model_keeps_room_for_its_cache(tmp_path: Path) -> None:
    policy = write_model(tmp_path / "policy", 100_000)
    reward = write_model(tmp_path / "reward", 10)
    serving = Serving(policy=policy, reward=reward, memory=0.8)
    # 60 000 for caches, a fifth of it for the reward.
    assert shares(serving, 200_000) == pytest.approx((0.73996, 0.06004))


def test_weights_that_tensor_parallelism_spreads_count_once(tmp_path: Path) -> None:
    policy = write_model(tmp_path / "policy", 16_000)
    reward = write_model(tmp_path / "reward", 2_000)
    serving = Serving(policy=policy, reward=reward, memory=0.8)
    with pytest.raises(SettingsError, match="spread them by --tp"):
        shares(serving, 20_000)
    spread = Serving(policy=policy, reward=reward, memory=0.8, flags=("--tp-size=4",))
    assert sum(shares(spread, 20_000)) == pytest.approx(0.8)  # type: ignore[arg-type]


def test_two_servers_leave_room_for_the_graphs_of_both() -> None:
    serving = Serving(policy="owner/one", reward="owner/two", reward_memory=0.2)
    assert shares(serving, 100) == pytest.approx((0.5, 0.2))


def test_memory_of_unknown_models_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "weight_bytes", lambda model: 0)
    serving = Serving(policy="owner/one", reward="owner/two", memory=0.8)
    assert shares(serving, 100) == pytest.approx((0.4, 0.4))


def test_the_hub_tells_what_models_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def told(self: object, model: str, **_: object) -> SimpleNamespace:
        if model == "owner/gone":
            raise OSError("offline")
        sizes = {
            "model-1.safetensors": 30,
            "model-2.safetensors": 20,
            "consolidated.safetensors": 50,
            "original/model.safetensors": 50,
            "pytorch_model.bin": 50,
        }
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        return SimpleNamespace(siblings=files)

    monkeypatch.setattr(hub.HfApi, "model_info", told)
    memory.weight_bytes.cache_clear()
    assert memory.weight_bytes("owner/one") == 50
    assert memory.weight_bytes("owner/gone") == 0
    memory.weight_bytes.cache_clear()


def test_one_model_is_left_to_sglang_unless_something_else_is_asked_for() -> None:
    assert shares(Serving(policy="owner/one"), 100) == (None, None)
    assert shares(Serving(policy="owner/one", memory=0.8), 100) == (0.8, 0.8)
    assert static_fraction(None, Memory(total=100, free=99)) is None
    assert static_fraction(None, Memory(total=100, free=50)) == 0.7  # 15 for graphs


def test_the_second_server_counts_from_what_the_first_left() -> None:
    assert static_fraction(0.5, Memory(total=100, free=100)) == 0.5
    assert static_fraction(0.3, Memory(total=100, free=50)) == 0.6


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpus_server_gets_a_fraction_only_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    monkeypatch.setattr(command_lines, "has_cuda", lambda: gpu)
    monkeypatch.setattr(command_lines, "device_memory", lambda device: Memory(total=80, free=80))
    alone = command("owner/one", host="127.0.0.1", port=1, share=None)
    assert "--mem-fraction-static" not in alone
    if gpu:
        beside = command("owner/one", host="127.0.0.1", port=1, share=0.35)
        assert value_of(beside, "--mem-fraction-static") == "0.35"


def test_two_servers_on_a_gpu_take_turns_without_mps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert memory.takes_turns("owner/one", "owner/two")
    assert not memory.takes_turns("owner/one", None)
    (tmp_path / "control").touch()
    assert not memory.takes_turns("owner/one", "owner/two")


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(SettingsError, match="lower --memory"):
        static_fraction(0.5, Memory(total=100, free=50))


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} cannot be listened at"):
            choose_port("127.0.0.1", port)


def test_a_free_port_is_found() -> None:
    found = {choose_port("127.0.0.1", 0) for _ in range(20)}
    assert len(found) > 1
    # Beyond that the system gives ports to outgoing connections before the server listens.
    assert found <= set(range(1024, 32768))


def test_a_host_of_another_machine_is_refused_for_any_port() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:0 cannot be listened at"):
        choose_port("192.0.2.1", 0)


@pytest.mark.parametrize("model", ["/no/such/place", "./nowhere", "a/b/c", ""])
def test_a_directory_that_is_none_is_refused(model: str) -> None:
    with pytest.raises(SettingsError, match="no such directory"):
        Serving(policy=model)


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no config\.json"):
        Serving(policy="owner/name", reward=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70000),
        ("memory", 1.0),
        ("reward_memory", 0.9),
        ("start_timeout", 0.0),
        ("restarts", -1),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    settings: dict[str, float] = {name: value}
    with pytest.raises(SettingsError, match=f"^{name}={value}"):
        Serving(policy="owner/name", **settings)  # type: ignore[arg-type]


def test_two_servers_cannot_have_one_port() -> None:
    with pytest.raises(SettingsError, match="the policy has that one"):
        Serving(policy="owner/name", reward="owner/other", port=4000, reward_port=4000)


def test_workers_share_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_lines, "has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5, 6,GPU-a,8")
    assert device_groups(1) == [None]
    assert device_groups(2) == ["4,5", "6,GPU-a"]
    assert device_groups(5) == ["4", "5", "6", "GPU-a", "8"]
    with pytest.raises(SettingsError, match="workers=6: must be at most 5"):
        device_groups(6)


@on_cpu
def test_workers_share_a_cpu() -> None:
    assert device_groups(3) == [None, None, None]


def test_a_router_is_in_front_of_all_workers() -> None:
    given = ("--policy", "round_robin", "--health-check-interval-secs=1")
    urls = ["http://127.0.0.1:31001", "http://box:30000/v1/"]
    argv = router_command(urls, host="127.0.0.1", port=1, flags=given)
    first = argv.index("--worker-urls") + 1
    assert argv[first : first + 3] == ("http://127.0.0.1:31001", "http://box:30000", "--host")
    assert argv[-len(given) :] == given
    assert "--health-check-interval-secs" not in argv
    assert int(value_of(argv, "--prometheus-port")) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "policy=None: give a model"),
        ({"workers": 2, "worker_urls": ("http://box:1",)}, "policy=None: give a model"),
        ({"policy": "owner/name", "workers": 0}, "workers=0"),
        ({"policy": "owner/name", "router_flags": ("--x",)}, "one worker has no router"),
        ({"worker_urls": ("box:30000",)}, "worker_urls='box:30000': must begin with http"),
    ],
)
def test_workers_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Serving(**settings)


def test_without_a_policy_the_reward_has_the_memory_alone() -> None:
    serving = Serving(reward="owner/two", worker_urls=("http://box:1",), memory=0.8)
    assert shares(serving, 0)[1] == 0.8
