"""What every contestant needs: the problems, the server, the clock. The standard library alone."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from benchmarks.race.world import DELIMITER, Problem, problems

__all__ = ["DELIMITER", "Entry", "Problem", "Server", "at_once", "race"]


class Server:
    """The race's server, called as a program without a client library does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 (an address of our own)
            self.url + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as reply:  # noqa: S310
            return json.load(reply)

    def write(self, messages: Sequence[dict[str, str]], *, step: bool) -> str:
        """A reply, or its next step with the delimiter behind it unless it is the last."""
        body = {"model": "race", "messages": list(messages), "temperature": 0.8}
        if step:
            body |= {"stop": [DELIMITER], "include_stop_str_in_output": True}
        text: str = self.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
        return text

    def step(self, problem: Problem, before: str) -> str:
        """The step after what the reply says `before`."""
        messages = [{"role": "user", "content": problem.question}]
        if before:
            messages.append({"role": "assistant", "content": before})
        return self.write(messages, step=True)

    def reward(self, problem: Problem, text: str) -> float:
        return float(self.post("/reward", {"problem": problem.number, "text": text})["reward"])


Entry = Callable[[Server, Problem, dict[str, Any]], "str | tuple[str, dict[str, Any]]"]
"""Solves a problem with some settings: the text of the answer that was chosen, and what else its
row is to tell."""


def at_once(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`work` on all items at the same time, in threads; the outcomes in their order."""
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        return list(pool.map(work, items))


def race(entry: Entry) -> None:
    """Solve the problems that each line of the input names, at the same time; a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, of the search")
    parser.add_argument("--small", action="store_true", help="short problems")
    given = parser.parse_args()
    server = Server(given.url)

    def solve(number: int) -> dict[str, Any]:
        problem = problems(number + 1, given.seed, small=given.small)[number]
        begun = perf_counter()
        said = entry(server, problem, given.settings)
        seconds = perf_counter() - begun
        server.post(f"/answered/{number}", {})
        text, more = (said, {}) if isinstance(said, str) else said
        return {"problem": number, "right": problem.right(text), "seconds": seconds, **more}

    for line in sys.stdin:
        for row in at_once(solve, json.loads(line)):
            print(json.dumps(row), flush=True)
