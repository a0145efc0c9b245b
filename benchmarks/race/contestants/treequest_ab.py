"""TreeQuest (SakanaAI): AB-MCTS-A, an answer at a time or in batches, driven as in its README."""

from __future__ import annotations

from typing import Any

import treequest

from benchmarks.race.contestants.common import Problem, Server, at_once, race

AGAIN = "Here are earlier tries, each with its score:\n\n{told}\n\nWrite a better one."


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    """The answer of the highest score among `budget` tries."""

    def generate(parent: str | None) -> tuple[str, float]:
        messages = [{"role": "user", "content": problem.question}]
        if parent is not None:
            messages[0]["content"] += "\n\n" + AGAIN.format(told=parent)
        text = server.write(messages, step=False)
        return text, server.reward(problem, text)

    algorithm = treequest.ABMCTSA()
    state = algorithm.init_tree()
    batch = settings["batch"]
    for _ in range(settings["budget"] // batch):
        if batch == 1:
            state = algorithm.step(state, {"answer": generate})
            continue
        state, trials = algorithm.ask_batch(state, batch_size=batch, actions=["answer"])
        outcomes = at_once(lambda trial: generate(trial.parent_state), trials)
        for trial, outcome in zip(trials, outcomes, strict=True):
            state = algorithm.tell(state, trial.trial_id, outcome)
    best: str = treequest.top_k(state, algorithm, k=1)[0][0]
    return best


if __name__ == "__main__":
    race(entry)
