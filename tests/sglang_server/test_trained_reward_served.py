"""The recipe of a reward model of one's own, from its labels to a search that goes by it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest
from asking import ask_for
from launching import launch

from examples.train_reward.labels import Solution
from spex_agents import Rebase, SearchConfig, solve
from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.problems.weekday_sums import TEMPLATE, weekday_sums
from spex_agents.rewards.asking.process import ProcessReward
from spex_agents.rewards.asking.profiles import SKYWORK
from spex_agents.search import Limits, Thought

HEAD = """
import json, os, sys

os.environ["SPEX_REWARD"] = sys.argv[1]
from examples.train_reward import reward
from examples.train_reward.train import tokens_of

torch, model, tokenizer = reward._loaded()
row = json.loads(sys.argv[2])
ids, ends = tokens_of(tokenizer, row)
with torch.no_grad():
    hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, ends]
    steps = torch.sigmoid(model.score(hidden)).squeeze(-1).tolist()
paths = [(row["question"], row["steps"][:end]) for end in range(1, len(ends) + 1)]
paths.insert(3, ("Another question", row["steps"][:2]))
worst = reward._worst(paths)
print(json.dumps([steps, worst[:3] + worst[4:]]))
"""
"""What each step scores in this process, and each path by the example's reward."""


def solutions(problems: int) -> list[Solution]:
    """A right one of each, and one that goes wrong half way."""
    rows = []
    for problem in weekday_sums(5, problems):
        start, *lines = problem.question.splitlines()
        for right in (True, False):
            total, steps = int(start.split()[-1]), []
            for number, line in enumerate(lines):
                day, add = line.split(": + ")
                after = total + int(add) + (number >= 3 and not right)
                steps.append(f"{day}: {total} + {add} = {after}")
                total = after
            steps.append(f"The answer is {total}")
            rows.append(Solution(question=problem.question, steps=steps, right=right))
    return rows


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_head_is_trained_served_and_searched_by(tiny: Path, tmp_path: Path) -> None:
    rows = solutions(8)
    file, head = tmp_path / "solutions.jsonl", tmp_path / "head"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = run(
        "-m", "examples.train_reward.train", "--model", str(tiny), "--solutions", str(file),
        "--out", str(head), "--states", str(tmp_path / "states.pt"), "--made-up", "4",
    )  # fmt: skip
    assert "of 6 problems" in told  # 8, of which a third is held out
    assert "of 2 unseen problems" in told
    said, worst = json.loads(run("-c", HEAD, str(head), json.dumps(rows[1])))
    with launch(tmp_path, "--policy", str(tiny), "--reward", str(head)) as launched:
        ready = launched.ready()
        async with SGLangEngine(
            ready["policy"]["url"], reward_url=ready["reward"]["url"]
        ) as engine:
            reward = ProcessReward(engine, SKYWORK)
            thoughts = [Thought(text=step, tokens=8) for step in rows[1]["steps"]]
            served = [
                await reward.score(
                    rows[1]["question"], thoughts[:end], ask_for(f"head/{end}/reward-1")
                )
                for end in range(1, len(thoughts) + 1)
            ]
            assert served == pytest.approx(said, abs=1e-4)
            assert worst == pytest.approx(list(accumulate(served, min)), abs=1e-4)
            config = SearchConfig(
                engine=engine, policy=Rebase(width=3), reward=reward, template=TEMPLATE,
                limits=Limits(depth=2, step_tokens=8), termination=None,
            )  # fmt: skip
            result = await solve(config, rows[0]["question"], seed=1)
    scores = [result.tree.reward(path) for path in result.tree.leaves()]
    assert len(scores) == 3
    assert all(score is not None and 0 < score < 1 for score in scores)
    assert not any(map(math.isnan, served))
