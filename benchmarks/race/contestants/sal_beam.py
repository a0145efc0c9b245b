"""search-and-learn (Hugging Face): the beam search of its repository, run as it stands there.

It is written for vLLM in the same process and for a reward model on a GPU. Here it is given, in
their places, objects that ask the race's server for a batch at the same time. Its checkout's `src`
folder is to be on the module path (`PYTHONPATH`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.race.contestants.common import DELIMITER, Problem, Server, at_once, race

TURN = "\n<|assistant|>\n"


@dataclass
class SamplingParams:
    """What the loop sets of vLLM's."""

    temperature: float
    max_tokens: int
    top_p: float
    n: int = 1
    stop: list[str] | None = None
    include_stop_str_in_output: bool = False


class Model:
    """Takes the place of `vllm.LLM`, and of its tokenizer."""

    chat_template = ""

    def __init__(self, server: Server, problem: Problem) -> None:
        self.server, self.problem = server, problem

    def get_tokenizer(self) -> Model:
        return self

    def apply_chat_template(self, conversations: list[Any], **kwargs: Any) -> list[str]:
        turns = ([turn for turn in talk if turn["role"] != "system"] for talk in conversations)
        return [TURN.join([*(turn["content"] for turn in talk), ""][:2]) for talk in turns]

    def generate(self, prompts: list[str], params: SamplingParams, **kwargs: Any) -> list[Any]:
        def reply(prompt: str) -> Any:
            _, _, before = prompt.partition(TURN)
            messages = [{"role": "user", "content": self.problem.question}]
            if before:
                messages.append({"role": "assistant", "content": before})
            text = self.server.write(messages, step=params.stop is not None)
            reason = DELIMITER if text.endswith(DELIMITER) else None
            return SimpleNamespace(outputs=[SimpleNamespace(text=text, stop_reason=reason)])

        return at_once(reply, prompts)


class Judge:
    """Takes the place of the reward model: one score for each reply."""

    def __init__(self, server: Server, problem: Problem) -> None:
        self.server, self.problem = server, problem

    def score(self, questions: list[str], outputs: list[list[str]]) -> list[list[list[float]]]:
        texts = [text for replies in outputs for text in replies]
        return [[[each]] for each in at_once(lambda t: self.server.reward(self.problem, t), texts)]


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    from sal.config import Config  # noqa: PLC0415 (after `stand_in`)
    from sal.search.beam_search import beam_search  # noqa: PLC0415

    config = Config(
        approach="beam_search",
        n=settings["n"],
        beam_width=settings["width"],
        num_iterations=12,
        search_batch_size=1,
        custom_chat_template=None,
        **settings.get("fields", {}),
    )
    model, judge = Model(server, problem), Judge(server, problem)
    outcome = beam_search({"problem": [problem.question]}, config, model, judge)
    return str(outcome["pred"][0])


def stand_in() -> None:
    """Put modules in the places of those that need a GPU, or grade what has been found."""
    stand_ins: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": Model, "SamplingParams": SamplingParams},
        "sal.models.reward_models": {"PRM": Judge},
        "sal.utils.hub": {"get_dataset_revisions": lambda name: []},
        "sal.utils.math": dict.fromkeys(
            (
                "compute_maj_pred",
                "compute_naive_pred",
                "compute_weighted_pred",
                "extract_completion_answers",
                "subsample_completions",
            )
        ),
    }
    for name, members in stand_ins.items():
        module = ModuleType(name)
        for member, value in members.items():
            setattr(module, member, value)
        sys.modules[name] = module


if __name__ == "__main__":
    stand_in()
    import_module("sal.search")  # before the clock runs
    race(entry)
