"""Recordings, and the page that shows them: what is in the file, before any browser has it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gateways import ASKED
from searching import config, make_engine
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.engines.functions import Proposer
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.nodes import create_tot_graph
from spex_agents.rewards import Calculator, SimulatedReward
from spex_agents.search import BestOfN, Rebase, Rstar
from spex_agents.search.policy import Policy
from spex_agents.search.tree import Thought
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.solving import Result, solve
from spex_agents.view import live_page, run_page, streamed_recording

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> <!--"


def watched(policy: Policy, *, ahead: bool = True) -> tuple[list[ThoughtEvent], Result]:
    events: list[ThoughtEvent] = []

    async def main() -> Result:
        made = config(make_engine(), policy, speculation=Speculation() if ahead else None)
        return await solve(made, "What is 5 + 7?", seed=3, listener=events.append)

    return events, run_virtual(main())


def recorded(file: Path, *more: str) -> dict[str, Any]:
    command = ("solve", "What is 5 + 7?", "--engine", "simulated", "--record", str(file), *more)
    assert CliRunner().invoke(app, command).exit_code == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def embedded(html: str) -> Any:
    """The data in a page, as a browser would find it: up to the first end of a script."""
    (found,) = re.findall(r'id="data">(.*?)</script', html, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("policy", [Rebase(width=8), Rstar(rollouts=4)], ids=repr)
def test_events_tell_when_each_request_began_and_ended(policy: Policy, ahead: bool) -> None:
    events, result = watched(policy, ahead=ahead)
    times = [event["seconds"] for event in events]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(times))
    counts = Counter(event["status"] for event in events)
    ledger = result.ledger
    assert counts["speculative"] == ledger.launched
    assert counts["demanded"] == ledger.hits
    assert counts["begun"] + ledger.hits == counts["accepted"] == len(result.tree)
    assert counts["cancelled"] == ledger.retracted
    assert counts["wasted"] == ledger.launched - ledger.hits - ledger.retracted
    assert counts["scoring"] >= counts["judged"] >= counts["scored"] == len(result.tree.rewards)
    tokens = {event["id"]: event["tokens"] or 0 for event in events if event["tokens"]}
    unknown = ledger.retracted > 0  # what an abort has cost is known later
    assert sum(tokens.values()) == ledger.decoded_tokens or unknown
    assert 0 < sum(tokens.values()) <= ledger.decoded_tokens


def test_a_guess_that_fails_is_told_and_begun_again() -> None:
    engine = make_engine(fails=lambda request, _: not request.demanded)
    events: list[ThoughtEvent] = []

    async def main() -> Result:
        made = config(engine, Rebase(width=6), speculation=Speculation())
        return await solve(made, "What is 5 + 7?", seed=3, listener=events.append)

    result = run_virtual(main())
    failed = [event["id"] for event in events if event["status"] == "failed"]
    assert len(failed) == result.ledger.failed > 0
    begun = {event["id"] for event in events if event["status"] == "begun"}
    accepted = {event["id"] for event in events if event["status"] == "accepted"}
    assert accepted <= begun | {event["id"] for event in events if event["status"] == "demanded"}


def test_a_recording_has_all_of_a_run_and_each_text_of_the_tree_once(tmp_path: Path) -> None:
    ahead = recorded(tmp_path / "on.json")
    waiting = recorded(tmp_path / "off.json", "--no-speculation")
    assert ahead["tree_sha256"] == waiting["tree_sha256"]
    assert (ahead["settings"]["speculation"], waiting["settings"]["speculation"]) == (True, False)
    assert ahead["settings"]["policy"] == "rebase"
    assert ahead["seconds"] == pytest.approx(ahead["events"][-1]["seconds"], abs=0.1)
    told = {".".join(map(str, row["path"])) for row in ahead["tree"]}
    assert all(event["text"] == "" for event in ahead["events"] if event["id"] in told)
    assert any(event["text"] for event in ahead["events"])


def test_what_was_reasoned_is_told_beside_what_was_said() -> None:
    async def reasons(question: str, steps: Sequence[str], seed: int) -> Thought:
        told = Thought(
            text="It is \\boxed{4}.", tokens=9, reasoning="Two, two.", reasoning_tokens=4
        )
        return replace(told, finish="stop", ends=True)

    made = SearchConfig(engine=Proposer(reasons), policy=BestOfN(width=2), reward=Calculator())
    events: list[ThoughtEvent] = []
    result = run_virtual(solve(made, "2 + 2?", listener=events.append))
    run = recording(made, "best-of-n", result, 1.0, events)
    streamed = streamed_recording("2 + 2?", run, events)
    for one in (run, streamed):
        assert [row["reasoning"] for row in one["tree"]] == ["Two, two."] * 2
    assert not any("reasoning" in event for event in run["events"])


def test_two_runs_become_one_page_that_loads_nothing(tmp_path: Path) -> None:
    for name, more in (("on", ()), ("off", ("--no-speculation",))):
        recorded(tmp_path / f"{name}.json", *more)
    page = tmp_path / "page.html"
    files = [str(tmp_path / f"{name}.json") for name in ("on", "off")]
    done = CliRunner().invoke(app, ["view", *files, "--out", str(page)])
    assert (done.exit_code, done.output) == (0, "")
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|https?:", html)
    assert [run["settings"]["speculation"] for run in embedded(html)["runs"]] == [True, False]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run.json")
    run["question"] = HOSTILE
    run["tree"][0]["text"] = HOSTILE
    run["settings"]["policy_settings"] = "<!--SCRIPT-->"
    html = run_page([run]).html
    assert embedded(html)["runs"][0]["tree"][0]["text"] == HOSTILE
    assert "onerror=alert(2)>" not in html.replace("\\u003c", "").partition("<script")[0]
    assert html.count("<script") == html.count("</script>") == 2
    assert "<img" not in html


def test_the_pages_own_script_and_style_alone_are_allowed() -> None:
    page = live_page()
    assert page.policy in page.html
    assert "unsafe" not in page.policy
    assert "connect-src 'self'" in page.policy
    assert "innerHTML" not in page.html


async def test_the_seconds_of_a_search_that_was_suspended_go_on_where_they_were() -> None:
    asked = ChatRequest.model_validate(ASKED)
    search = Search(id="one", owner="me", created=0.0, request=asked, seconds=5.0)
    begun: ThoughtEvent = {
        "type": "thought",
        "id": "0",
        "parent": "",
        "status": "begun",
        "text": "",
        "reward": None,
        "seconds": 1.5,
        "tokens": None,
    }
    search.hear(begun)
    search.state = "suspended"
    search.announce()
    told = [told[1] async for told in search.events.follow(ping_seconds=1) if told is not None]
    assert [event["seconds"] for event in told] == [6.5, 5.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "must be a recording"),
        ('{"question": "x", "tree": []}', "must be a recording"),
    ],
)
def test_what_is_no_recording_is_bad_input(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    if text is not None:
        file.write_text(text)
    done = CliRunner().invoke(app, ["view", str(file), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_what_cannot_be_written_is_bad_input_before_any_model_is_called(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no" / "run.json")
    done = CliRunner().invoke(app, ["solve", "x", "--engine", "simulated", "--record", nowhere])
    assert done.exit_code == 2
    assert "--record" in done.stderr
    three = CliRunner().invoke(app, ["view", "a", "b", "c", "--out", nowhere])
    assert (three.exit_code, "one, or two" in three.stderr) == (2, True)


def test_a_result_shows_itself_in_a_frame_where_hostile_text_stays_text() -> None:
    async def main() -> Result:
        made = config(make_engine(), Rebase(width=4))
        return await solve(made, f"What is 5 + 7? {HOSTILE} \" ' &quot;", seed=3)

    result = run_virtual(main())
    shown = result._repr_html_()
    assert shown is not None
    (frame,) = re.findall(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" style="[^"]*">', shown)
    assert shown.endswith("></iframe>")
    page = unescape(frame)
    assert page == run_page([result.recorded or {}]).html
    run = embedded(page)["runs"][0]
    assert run["tree_sha256"] == result.tree_sha256
    assert run["seconds"] <= run["events"][-1]["seconds"] + 1e-3
    assert {event["status"] for event in run["events"]} >= {"begun", "accepted", "scored"}
    assert "recorded" not in repr(result)


def test_a_result_that_keeps_nothing_shows_itself_as_text() -> None:
    result = run_virtual(solve(config(make_engine(), Rebase(width=4)), "2 + 2?", record=False))
    assert (result.recorded, result._repr_html_()) == (None, None)


async def test_a_stream_makes_the_recording_of_its_search() -> None:
    engine = SimulatedEngine(speed=1000)
    graph = create_tot_graph(engine, policy=Rebase(width=6), reward=SimulatedReward(latency=0.001))
    parts = [
        part
        async for part in graph.compile().astream(
            {"question": "What is 5 + 7?", "seed": 3}, stream_mode=["custom", "values"]
        )
    ]
    result = parts[-1][1]
    events = [part for mode, part in parts if mode == "custom"]
    run = streamed_recording("What is 5 + 7?", result, events, speculation=True)
    rewards = {tuple(row["path"]): row["reward"] for row in result["rewards"]}
    assert [(row["path"], row["text"], row["tokens"]) for row in run["tree"]] == [
        (row["path"], row["text"], row["tokens"]) for row in result["thoughts"]
    ]
    assert {tuple(row["path"]): row["reward"] for row in run["tree"]} == rewards
    assert run["answer"] == result["answer"]
    assert run["ledger"] == result["ledger"]
    assert run["answer_path"] == result["answer_path"]
    assert run["seconds"] == max(event["seconds"] for event in run["events"])
    assert embedded(run_page([run]).html)["runs"] == [run]


def test_a_recording_without_events_of_thoughts_is_refused() -> None:
    report: dict[str, Any] = {"answer": None, "stopped": None, "tree_sha256": None, "ledger": {}}
    with pytest.raises(SettingsError, match="1 events: none is of a thought"):
        streamed_recording("?", report, [{"type": "ledger", "ledger": {}}])
