"""A model's opinion in words, and how sure it was of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import QUESTION, make_engine, run_search

from spex_agents.engines.base import Features, Request, Sampling
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.rewards import Aggregate, Cached, Confidence, Ensemble, GroupVote, Judge, Value
from spex_agents.rewards.confidence import Over
from spex_agents.search import Rebase, Thought
from spex_agents.speculation.config import Speculation


def thought(text: str, **settings: Any) -> Thought:
    return Thought(text=text, tokens=len(text.split()), **settings)


def request(name: str = "run/0/reward-1", seed: int = 7) -> Request:
    return Request(id=name, seed=seed)


class Replies(SimulatedEngine):
    """Replies in turn, a token each; an exception is raised after the others have begun."""

    def __init__(self, *replies: str | Exception) -> None:
        super().__init__()
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.prompts: list[Prompt] = []
        self.sampled: list[Sampling] = []
        self.chances: Mapping[str, float] = {}
        self.aborted = 0

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        reply = self.replies[len(self.requests)]
        self.requests.append(request)
        self.prompts.append(prompt)
        self.sampled.append(sampling)
        request.tokens += 1
        try:
            await asyncio.sleep(2 if isinstance(reply, Exception) else 5)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        if isinstance(reply, Exception):
            raise reply
        return thought(reply, ends=True)

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        self.prompts.append(prompt)
        return self.chances


def value_of(*replies: str | Exception, **settings: Any) -> float:
    engine = Replies(*replies)
    value = Value(engine, **{"samples": len(replies), **settings})
    return run_virtual(value.score(QUESTION, [thought("5 + 7")], request()))


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (["sure", "sure", "sure"], 1.0),
        (["sure", "likely", "impossible"], 21.001 / 60),
        (["Likely.", "It adds up.\n**Sure**", "impossible\n\n"], 21.001 / 60),
        (["impossible"] * 3, 0.001 / 20),
    ],
)
def test_a_value_is_the_papers_sum_as_a_share_of_the_largest(
    replies: list[str], expected: float
) -> None:
    assert value_of(*replies) == pytest.approx(expected)


WORDS = st.lists(st.sampled_from(["sure", "likely", "impossible"]), min_size=3, max_size=3)


@given(WORDS, WORDS)
def test_values_order_thoughts_as_the_papers_sums_do(one: list[str], other: list[str]) -> None:
    worth = {"impossible": 0.001, "likely": 1, "sure": 20}
    sums = [sum(worth[word] for word in words) for words in (one, other)]
    scores = [value_of(*words) for words in (one, other)]
    assert all(0 <= score <= 1 for score in scores)
    if not math.isclose(*sums):
        assert (sums[0] < sums[1]) == (scores[0] < scores[1])


def test_a_value_samples_with_seeds_of_its_own_to_the_models_stop() -> None:
    engine = Replies("sure", "sure", "sure")
    asked = request()
    run_virtual(Value(engine).score("Is {step} a set?", [thought("a"), thought("b")], asked))
    assert len({one.seed for one in engine.requests}) == 3
    assert [one.id for one in engine.requests] == [f"{asked.id}/{index}" for index in range(3)]
    assert asked.tokens == 3
    assert all(not sampling.stop and sampling.temperature == 0.7 for sampling in engine.sampled)
    assert "Is {step} a set?" in engine.prompts[0].messages[-1].content
    assert "a\nb" in engine.prompts[0].messages[-1].content


@pytest.mark.parametrize(
    "unclear", ["", "Hm.", "sure or likely", "unlikely", "surely", "sure\nHm."]
)
def test_a_reply_without_exactly_one_word_is_asked_for_once_more(unclear: str) -> None:
    engine = Replies("sure", unclear, "sure", "likely")
    asked = request()
    value = run_virtual(Value(engine).score(QUESTION, [thought("a")], asked))
    assert value == pytest.approx(41 / 60)
    assert engine.requests[3].id == f"{asked.id}/3"
    assert len({one.seed for one in engine.requests}) == 4
    assert asked.tokens == 4


def test_replies_that_stay_unclear_are_left_out() -> None:
    assert value_of("likely", "Hm.", "Hm.", "Hm.", "Hm.", samples=3) == pytest.approx(1 / 20)


def test_no_clear_reply_is_an_error_or_what_was_asked_for() -> None:
    replies = ["Hm."] * 6
    with pytest.raises(RewardError, match=r"says none of sure, likely, impossible.*otherwise="):
        value_of(*replies, samples=3)
    assert value_of(*replies, samples=3, otherwise=0.2) == 0.2


def test_a_reply_that_fails_aborts_the_others() -> None:
    engine = Replies("sure", "sure", EngineError("the server is gone"))
    asked = request()
    with pytest.raises(EngineError, match="the server is gone"):
        run_virtual(Value(engine).score(QUESTION, [thought("a")], asked))
    assert engine.aborted == 2
    assert asked.tokens == 3


def test_an_expected_value_weighs_the_words_by_their_probabilities() -> None:
    engine = Replies()
    engine.chances = {"sure": 0.1, "likely": 0.2, "impossible": 0.1}
    value = Value(engine, expected=True)
    score = run_virtual(value.score(QUESTION, [thought("a")], request()))
    assert score == pytest.approx((0.1 * 20 + 0.2 + 0.1 * 0.001) / 0.4 / 20)
    assert (value.seeded, Value(engine).seeded) == (False, True)


def test_words_without_any_probability_are_an_error_too() -> None:
    with pytest.raises(RewardError, match="says none of"):
        run_virtual(Value(Replies(), expected=True).score(QUESTION, [thought("a")], request()))


def test_the_words_and_the_prompt_are_data() -> None:
    engine = Replies("A")
    prompt = Prompt((Message("user", "{question}|{step}"),), "Grade: ")
    value = Value(engine, prompt, values={"A": 2, "B": 1}, samples=1)
    assert run_virtual(value.score("Q", [thought("a"), thought("b")], request())) == 1
    assert engine.prompts == [Prompt((Message("user", "Q|b"),), "Grade: ")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"values": {"sure": 1}}, "two different words"),
        ({"values": {"sure": 1, "Sure": 2}}, "two different words"),
        ({"values": {"sure": 0, "no": 0}}, "one of them above"),
        ({"values": {"sure": -1, "no": 1}}, "at least 0"),
        ({"values": {"sure": math.inf, "no": 1}}, "at least 0"),
        ({"otherwise": 2.0}, "otherwise=2.0"),
    ],
)
def test_values_refuse_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Value(SimulatedEngine(), **settings)


def test_an_expected_value_needs_an_engine_that_reads_labels() -> None:
    class Plain(SimulatedEngine):
        @property
        def features(self) -> Features:
            return Features(exactness="exact")

    assert Value(Plain()).seeded
    with pytest.raises(SettingsError, match=r"expected=True.*features\.labels"):
        Value(Plain(), expected=True)


@pytest.mark.parametrize("expected", [True, False])
def test_a_value_leaves_the_tree_as_it_is_without_speculation(expected: bool) -> None:
    def outcome(speculation: Speculation | None) -> tuple[str, int, int]:
        engine = make_engine()
        worth = {"12": 1.0, "7": 0.5, "10": 0.001}  # of the simulated engine's answers
        value = Value(engine.inner, values=worth, expected=expected, otherwise=0.5)
        both = Ensemble((Judge(engine.inner), value))
        done = run_search(Rebase(width=4), speculation=speculation, reward=both, engine=engine)
        return done.tree.sha256(), done.ledger.decoded_tokens, done.decoded

    plain, ahead = outcome(None), outcome(Speculation())
    assert plain[0] == ahead[0]
    for _, accounted, decoded in (plain, ahead):
        assert accounted == decoded


def confidence(logprobs: Sequence[float], over: Over, window: int = 2) -> float:
    step = thought("a", logprobs=tuple(logprobs))
    return asyncio.run(Confidence(over=over, window=window).score(QUESTION, [step], request()))


def test_groups_are_windows_of_tokens_in_a_row() -> None:
    logprobs = (-1.0, -5.0, -3.0, -1.0, -2.0)  # groups of two: -3, -4, -2, -1.5
    assert confidence(logprobs, "mean") == pytest.approx(math.exp(-2.4))
    assert confidence(logprobs, "lowest-group") == pytest.approx(math.exp(-4))
    assert confidence(logprobs, "bottom-groups") == pytest.approx(math.exp(-4))
    assert confidence(logprobs, "tail") == pytest.approx(math.exp(-1.5))


def test_the_bottom_is_a_tenth_of_the_groups() -> None:
    logprobs = [-float(at) for at in range(29)]  # 20 groups of ten, the two least sure are the last
    lowest, last_but_one = -23.5, -22.5
    assert confidence(logprobs, "lowest-group", 10) == pytest.approx(math.exp(lowest))
    assert confidence(logprobs, "bottom-groups", 10) == pytest.approx(
        math.exp((lowest + last_but_one) / 2)
    )


LOGPROBS = st.lists(st.floats(-20, 0) | st.just(-math.inf), min_size=1, max_size=40)
OVERS: list[Over] = ["mean", "lowest-group", "bottom-groups", "tail"]


@given(LOGPROBS, st.integers(1, 50))
def test_group_confidences_stay_in_range_and_in_order(logprobs: list[float], window: int) -> None:
    got = {over: confidence(logprobs, over, window) for over in OVERS}
    assert all(0 <= score <= 1 for score in got.values())
    assert got["lowest-group"] <= got["bottom-groups"] * (1 + 1e-9)
    assert got["lowest-group"] <= got["tail"] * (1 + 1e-9)
    if window >= len(logprobs):
        assert len(set(got.values())) == 1


@given(LOGPROBS, st.sampled_from(OVERS), st.data())
def test_a_surer_token_never_lowers_a_confidence(
    logprobs: list[float], over: Over, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(logprobs) - 1))
    surer = [*logprobs[:at], logprobs[at] / 2, *logprobs[at + 1 :]]
    assert confidence(surer, over, 5) >= confidence(logprobs, over, 5) * (1 - 1e-9)


def test_confidence_says_which_groups_there_are() -> None:
    with pytest.raises(SettingsError, match="over='top': must be one of mean, lowest-group"):
        Confidence(over=cast(Over, "top"))
    with pytest.raises(SettingsError, match="window=0"):
        Confidence(window=0)


@pytest.mark.model
async def test_a_small_model_gives_its_opinion() -> None:
    path = [thought("2 + 3 = 5."), thought("The answer is \\boxed{5}.", ends=True)]
    async with EmbeddedEngine(slots=2, context=1024) as engine:
        sampled = Value(engine, max_tokens=8, otherwise=0.0)
        read = Aggregate(Value(engine, expected=True), "mean")
        for reward in (sampled, read, Cached(Judge(engine))):
            asked = request()
            first = await reward.score("What is 2 + 3?", path, asked)
            assert 0 <= first <= 1
            assert await reward.score("What is 2 + 3?", path, request("run/0/reward-2")) == first
        vote = GroupVote(engine, samples=2, max_tokens=8, otherwise=0.5)
        shares = await vote.score_group("What is 2 + 3?", [path[:1], path], request("run/2"))
        assert sum(shares) == 1
        written = await engine.generate(
            Prompt((Message("user", "Count to ten."),)),
            request("run/1"),
            sampling=Sampling(logprobs=True),
            max_tokens=8,
        )
        scores = [
            await Confidence(over=over, window=4).score("Q", [written], request()) for over in OVERS
        ]
    assert 0 < scores[1] <= min(scores) <= max(scores) < 1
