"""Policies by name: what the command line calls a width, and what a wrong name is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spex_agents.bench.never_slower import measure
from spex_agents.cli import app
from spex_agents.cli.policies import named_policies, policy_of
from spex_agents.errors import SettingsError
from spex_agents.named import make_engine
from spex_agents.search import Beam, Dvts, Rebase, Refine, Rstar
from spex_agents.search.registry import POLICIES, as_policy, defaults, make_policy, sizes

PAGES = Path(__file__).parent.parent / "docs" / "policies"


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_of_no_given_size_is_the_class_with_its_defaults(name: str) -> None:
    policy = make_policy(name)
    assert policy == type(policy)()
    assert policy == make_policy(name, **sizes(name))
    assert policy == make_policy(name, width=None, rollouts=None)
    assert type(policy).__name__ == POLICIES[name].split(".")[1]


@pytest.mark.parametrize("name", POLICIES)
def test_sizes_outside_their_range_are_refused(name: str) -> None:
    for size in sizes(name):
        for value in (0, -8):
            with pytest.raises(SettingsError, match=f"{value}: must be"):
                make_policy(name, **{size: value})


@pytest.mark.parametrize("make", [Beam, Dvts])
@pytest.mark.parametrize(("width", "children"), [(16, 4), (6, 3), (10, 2), (5, 5), (1, 1)])
def test_a_layer_keeps_one_in_four_or_as_near_as_divides(
    make: type[Beam | Dvts], width: int, children: int
) -> None:
    assert make.sized(width) == make(beams=width, width=children)


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(
        SettingsError, match=r"policy='no-such': must be one of rebase, .*best-of-n"
    ):
        make_policy("no-such")
    with pytest.raises(SettingsError, match=r"rollouts=8: rebase has no rollouts.*: rstar, .*rap"):
        make_policy("rebase", rollouts=8)


def test_fields_are_stated_with_a_name() -> None:
    assert as_policy("rstar:create=all") == Rstar(create="all")
    stated = make_policy("rstar:exploration=0.5,create=all,width=3", rollouts=10, width=8)
    assert stated == Rstar(rollouts=10, width=3, exploration=0.5, create="all")
    assert make_policy("beam:width=6") == Beam.sized(6)
    assert make_policy("refine:failures=2") == Refine(failures=2)
    own = policy_of("spex_agents.search:Rstar:create=all", rollouts=4)
    assert own == Rstar(rollouts=4, create="all")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rstar:create=some", "create='some': must be one of 'walked', 'all'"),
        ("rstar:width=0", "width=0: must be"),
        ("rstar:width=2.5", "width must be a whole number"),
        ("rstar:exploration=much", "exploration must be a number"),
        (
            "rstar:branches=3",
            "rstar has no branches that can be stated; it has rollouts, width, exp",
        ),
        ("ab-mcts:models=a", "ab-mcts has no models that can be stated"),
        ("rstar:create=all,create=all", "stated once each"),
        ("rstar:create=", "stated once each"),
        ("rstar:width", "must be one of rebase"),
        (":width=3", "stated once each"),
        ("no-such:width=3", "must be one of rebase"),
    ],
)
def test_fields_that_are_none_are_refused(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make_policy(name)


def test_the_papers_form_is_measured_by_its_name() -> None:
    small = ("--policy", "rstar:create=all", "--rollouts", "2", "--seeds", "1", "--json")
    result = CliRunner().invoke(app, ["bench", "sim", *small])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["policy"], row["rollouts"], row["same_tree"]) == ("rstar:create=all", 2, 1)
    (promise,), _ = measure(["rstar:create=all"], ["paper-7b"], seeds=1)
    assert (promise.policy, promise.same_tree) == ("rstar-10:create=all", 1)


def test_a_policy_of_ones_own_is_named_by_its_module() -> None:
    assert policy_of("spex_agents.search:Rebase", width=3) == Rebase(width=3)
    named = named_policies(["spex_agents.search:Rebase", "beam:width=4"], width=2)
    assert named == {"spex_agents.search:Rebase": Rebase(width=2), "beam:width=4": Beam.sized(4)}
    assert type(policy_of("examples.own_policy:Greedy")).__name__ == "Greedy"


def test_a_policy_that_is_made_already_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Rebase(width=3)
    monkeypatch.setattr("examples.own_policy.mine", mine, raising=False)
    assert policy_of("examples.own_policy:mine") is mine
    assert named_policies(["examples.own_policy:mine"], width=2) == {
        "examples.own_policy:mine": mine
    }


@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        ("examples.own_policy:Greedy", {"width": 2}, "examples.own_policy:Greedy': "),
        ("examples.own_policy:short_is_good", {}, "short_is_good': "),
        ("examples.own_policy:nothing", {}, "has no 'nothing'"),
        ("spex_agents.errors:SettingsError", {}, "must be a Policy, or a class of one"),
    ],
)
def test_what_is_no_policy_is_refused(name: str, sizes: dict[str, int], said: str) -> None:
    with pytest.raises(SettingsError, match=f"policy='.*{said}"):
        policy_of(name, **sizes)


def test_a_policy_of_ones_own_is_searched_with_from_the_command_line() -> None:
    arguments = ["solve", "What is 5 + 7?", "--engine", "simulated", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--policy", "examples.own_policy:Greedy"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ledger"]["hits"] > 0


def test_a_misspelt_provider_is_not_taken_for_a_module() -> None:
    with pytest.raises(SettingsError) as caught:
        make_engine("nowhere:gpt-5-mini")
    assert "nor is it" not in str(caught.value)


def test_the_help_tells_every_default() -> None:
    assert all(name in defaults("width") for name in POLICIES if "width" in sizes(name))
    help_text = CliRunner().invoke(app, ["solve", "--help"], terminal_width=400).stdout
    assert defaults("width").split(",")[0] in help_text


@pytest.mark.parametrize("name", POLICIES)
def test_it_has_a_page_and_a_line_in_the_index(name: str) -> None:
    policy = POLICIES[name].split(".")[1]
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert f"| [`{name}`]({name}.md) | `{policy}` |" in index
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"$ spex bench sim --policy {name} --seeds 20\npaper-7b, 20 seeds\n" in page
    for field in sizes(name):
        assert f"| `{field}` | " in page


@pytest.mark.parametrize("name", POLICIES)
def test_the_benchmark_runs_it_and_finds_the_same_tree(name: str) -> None:
    sized = [f"--{size}={4}" for size in sizes(name)]
    command = ["bench", "sim", "--policy", name, *sized, "--seeds", "1", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["same_tree"] == row["seeds"] == 1
