"""The files in deploy/: they say what the command does, and the command takes what they say."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateways import process
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.cli.gateway import run
from spex_agents.cli.gateway_file import misspelt, read_settings, settings_of
from spex_agents.errors import SettingsError
from spex_agents.server.gateway.keys import KeyStore

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "gateway.example.toml"
OPTIONS = inspect.signature(run).parameters.keys() - {"context", "config"}


def test_the_file_knows_all_options_and_the_example_has_their_defaults() -> None:
    assert set(settings_of(run).model_fields) == OPTIONS
    defaults = {name: one.default for name, one in inspect.signature(run).parameters.items()}
    for name, value in tomllib.loads(EXAMPLE.read_text()).items():
        assert (
            (defaults[name] or []) == value if isinstance(value, list) else defaults[name] == value
        )
    assert read_settings(EXAMPLE, run)["most_tokens"] == 65_536


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('port = 9000\nsearches = 3\nengine = ["simulated"]\n')
    monkeypatch.setenv("SPEX_GATEWAY_PORT", "9001")
    monkeypatch.setenv("SPEX_GATEWAY_ENGINE", '["embedded"]')
    assert read_settings(file, run) == {"port": 9001, "searches": 3, "engine": ["embedded"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 9000", "prot=9000: no such setting"),
        ('port = "x"', "port='x'"),
        ("port", "is no TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_settings(file, run)
    done = CliRunner().invoke(app, ["gateway", "--config", str(file)])
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("SPEX_GATEWAY_PROT", "did you mean SPEX_GATEWAY_PORT?"),
        ("SPEX_GATWAY_PORT", "did you mean SPEX_GATEWAY_PORT?"),
        ("SPEX_DATABSE", "did you mean SPEX_DATABASE?"),
        ("SPEX_GATEWAY_COLOUR_OF_THE_LOGS", "see spex gateway --help"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_that_there_is(
    variable: str, nearest: str, tmp_path: Path
) -> None:
    words = ["gateway", "key", "create", "tutors", "--database", str(tmp_path / "gateway.sqlite")]
    done = CliRunner().invoke(app, words, env={variable: "9000"})
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    assert done.stderr == f"warning: {variable} in the environment is no setting; {nearest}\n"


def test_variables_of_other_programs_are_not_mistaken_for_a_gateway_s() -> None:
    places = ("spex_agents", "examples", "docs", "deploy", "benchmarks", "tests")
    files = [file for place in places for file in (ROOT / place).rglob("*") if file.is_file()]
    texts = [one.read_text("utf-8") for one in files if one.suffix in (".py", ".md", ".yaml")]
    found = set(re.findall(r"\bSPEX_[A-Z_]*[A-Z]\b", "".join(texts)))
    assert {"SPEX_PLUGINS", "SPEX_RIDGE", "SPEX_ENGINE", "SPEX_DATABASE"} <= found
    wrong = {"SPEX_GATEWAY_PROT", "SPEX_GATWAY_PORT", "SPEX_DATABSE"}
    assert [line for line in misspelt(found - wrong, run) if "COLOUR" not in line] == []


def test_a_gateway_and_the_commands_for_its_keys_find_the_same_database(tmp_path: Path) -> None:
    file, mine, other = (
        tmp_path / name for name in ("gateway.toml", "mine.sqlite", "other.sqlite")
    )
    file.write_text(f'database = "{mine}"\n')
    config, runner = ["--config", str(file)], CliRunner()
    for before, after, env in (
        (config, [], {}),
        ([], config, {}),
        ([], [], {"SPEX_GATEWAY_DATABASE": str(mine)}),
        ([], [], {"SPEX_DATABASE": str(mine)}),
        ([], config, {"SPEX_DATABASE": str(mine)}),
        (["--database", str(mine)], [], {"SPEX_DATABASE": str(other)}),
        (config, ["--database", str(mine)], {"SPEX_DATABASE": str(other)}),
    ):
        known = len(KeyStore(str(mine)).all())
        words = ["gateway", *before, "key", "create", "tutors", *after]
        done = runner.invoke(app, words, env=env)
        assert done.exit_code == 0, done.output
        assert len(KeyStore(str(mine)).all()) == known + 1
    assert not other.exists()
    file.write_text("prot = 9000\n")
    done = runner.invoke(app, ["gateway", "key", "list", *config])
    assert (done.exit_code, "prot=9000: no such setting" in done.stderr) == (2, True)


def test_who_lists_keys_is_told_of_a_database_without_any(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.sqlite", tmp_path / "empty.sqlite"
    KeyStore(str(empty))
    words = ["gateway", "key", "list", "--database"]
    done = CliRunner().invoke(app, [*words, str(missing)])
    assert (done.exit_code, missing.exists()) == (2, False)
    assert f"--database {missing}: no such file" in done.stderr
    done = CliRunner().invoke(app, [*words, str(empty)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"no keys in '{empty}'" in done.stderr


def test_a_limit_of_a_key_that_is_no_number_is_refused_in_words() -> None:
    words = ["gateway", "key", "create", "tutors", "--tokens", "lots"]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "'lots': must be a whole number, or none" in done.stderr


@pytest.mark.slow
def test_a_gateway_runs_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('most_width = 2\ndatabase = "mine.sqlite"\n')
    with process(tmp_path, "--config", str(file)):
        assert (tmp_path / "mine.sqlite").is_file()


def test_the_commands_of_the_deployment_are_the_commands_there_are() -> None:
    compose: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    assert {"policy", "gateway", "database", "prometheus"} == set(compose["services"])
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    entry = next(line for line in lines if line.startswith("ENTRYPOINT "))
    assert yaml.safe_load(entry.removeprefix("ENTRYPOINT ")) == ["spex", "gateway"]
    unit = (DEPLOY / "spex-gateway.service").read_text().splitlines()
    start = next(line for line in unit if line.startswith("ExecStart="))
    known = CliRunner().invoke(app, ["gateway", "--help"], env={"COLUMNS": "200"}).stdout
    for argument in [*gateway["command"], *shlex.split(start)]:
        if argument.startswith("--"):
            assert argument in known
    for name in gateway["environment"]:
        assert name == "SPEX_DATABASE" or name.removeprefix("SPEX_GATEWAY_").lower() in OPTIONS


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "spex-gateway.service"
    text = (DEPLOY / unit.name).read_text().replace("/opt/spex/bin/spex", "/bin/true")
    unit.write_text(text)
    done = subprocess.run(
        [analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert unit.name not in done.stderr
