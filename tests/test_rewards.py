"""Rewards: what they return, what they cost, and how they fail."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from spex_agents.engines.base import Engine, Features, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt, PromptTemplate
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.world import SyntheticWorld, goodness
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.rewards import (
    Calculator,
    Confidence,
    Judge,
    Reward,
    RewardFunction,
    Verifier,
    VoteConfidence,
    as_reward,
)
from spex_agents.rewards.checking.arithmetic import Rule, equations
from spex_agents.search import Rebase, Thought
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import solve

QUESTION = "What is 5 + 7?"


def thought(text: str, **settings: Any) -> Thought:
    return Thought(text=text, tokens=len(text.split()), **settings)


def quality(value: float) -> Thought:
    return thought(f"Step 1, quality {value:.6f}.")


def request(name: str = "run/0/reward-1", seed: int = 7) -> Request:
    return Request(id=name, seed=seed)


class Featureless(SimulatedEngine):
    """The simulated engine without log-probabilities and labels."""

    @property
    def features(self) -> Features:
        return Features(exactness="exact")


class Labels(SimulatedEngine):
    """Label probabilities as given, and the prompts that were scored."""

    def __init__(self, chances: Mapping[str, float]) -> None:
        super().__init__()
        self.chances = chances
        self.prompts: list[Prompt] = []

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        self.prompts.append(prompt)
        return self.chances


class Answers(SimulatedEngine):
    """Answers in turn, a token each; an exception is raised after the others have begun."""

    def __init__(self, *answers: str | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.prompts: list[Prompt] = []
        self.aborted: list[str] = []

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        assert not sampling.stop
        answer = self.answers[len(self.requests)]
        self.requests.append(request)
        self.prompts.append(prompt)
        request.tokens += 1
        try:
            if isinstance(answer, Exception):
                await asyncio.sleep(1)
                raise answer
            await asyncio.sleep(len(self.requests) % 3 * 10)
        except asyncio.CancelledError:
            self.aborted.append(request.id)
            raise
        return thought(answer, ends=True)


async def test_confidence_is_the_geometric_mean_probability_of_the_last_thought() -> None:
    first = thought("a b", logprobs=(-9.0, -9.0))
    last = thought("c d", logprobs=(math.log(0.5), math.log(0.125)))
    assert await Confidence().score(QUESTION, [first, last], request()) == pytest.approx(0.25)
    whole = await Confidence(whole_path=True).score(QUESTION, [first, last], request())
    assert whole == pytest.approx(math.exp((-18 + math.log(0.0625)) / 4))


async def test_confidence_stays_in_range_whatever_rounding_does() -> None:
    for logprobs, expected in (((1e-9,), 1.0), ((-math.inf, 0.0), 0.0), ((), 0.0)):
        scored = await Confidence().score(QUESTION, [thought("a", logprobs=logprobs)], request())
        assert scored == expected


async def test_confidence_without_logprobs_says_what_to_do() -> None:
    with pytest.raises(RewardError, match=r"no log-probabilities.*features\.logprobs"):
        await Confidence().score(QUESTION, [thought("a")], request())


def test_a_judge_gives_the_good_labels_share() -> None:
    judge = Judge(SimulatedEngine())
    path = [quality(0.1), quality(0.9)]
    assert run_virtual(judge.score(QUESTION, path, request())) == pytest.approx(goodness(0.9))


async def test_a_judge_normalises_over_its_two_labels_only() -> None:
    engine = Labels({"good": 0.03, "bad": 0.01})
    judge = Judge(engine, labels=("good", "bad"))
    assert await judge.score(QUESTION, [thought("a")], request()) == pytest.approx(0.75)


async def test_a_judges_prompt_is_data_filled_in_one_pass() -> None:
    engine = Labels({"Yes": 0.5, "No": 0.5})
    prompt = Prompt((Message("user", "{question}|{steps}|{step}|{other}"),), "So {step}: ")
    await Judge(engine, prompt).score("Is {step} a set?", [thought("a"), thought("b")], request())
    filled = Prompt((Message("user", "Is {step} a set?|a\nb|b|{other}"),), "So b: ")
    assert engine.prompts == [filled]


@pytest.mark.parametrize("chances", [{}, {"Yes": 0.0, "No": 0.0}])
async def test_a_judge_without_any_label_probability_names_the_labels(
    chances: Mapping[str, float],
) -> None:
    with pytest.raises(RewardError, match=r"neither 'Yes' nor 'No'.*labels=.*prompt="):
        await Judge(Labels(chances)).score(QUESTION, [thought("a")], request())


def test_a_judge_refuses_an_engine_that_cannot_read_labels() -> None:
    with pytest.raises(SettingsError, match=r"label probabilities.*features\.labels"):
        Judge(Featureless())


def test_a_judge_needs_two_different_labels() -> None:
    for labels in (("Yes", "Yes"), ("Yes", ""), ("Yes",)):
        with pytest.raises(SettingsError, match="two different"):
            Judge(SimulatedEngine(), labels=cast(tuple[str, str], labels))


async def test_a_verifier_gets_the_question_and_the_steps() -> None:
    seen: list[object] = []

    async def tests_pass(question: str, steps: Sequence[str]) -> float:
        seen.append((question, steps))
        return 0.25

    verifier = Verifier(tests_pass)
    assert await verifier.score(QUESTION, [thought("a"), thought("b")], request()) == 0.25
    assert seen == [(QUESTION, ["a", "b"])]
    assert (verifier.name, verifier.pure, verifier.needs_logprobs) == ("tests_pass", False, False)
    assert Verifier(tests_pass, pure=True, name="tests").pure


async def test_a_verifier_that_is_not_async_says_what_to_do() -> None:
    def blocking(question: str, steps: Sequence[str]) -> float:
        return 1.0

    async def of_steps(steps: Sequence[str]) -> float:
        return 1.0

    with pytest.raises(SettingsError, match=r"reward=blocking: .* is not async: write it as"):
        Verifier(cast(RewardFunction, blocking))
    with pytest.raises(SettingsError, match=r"reward=of_steps: .* but takes \(steps"):
        as_reward(cast(RewardFunction, of_steps), SimulatedEngine())
    with pytest.raises(SettingsError, match=r"reward=<lambda>: .* is not async: write it as"):
        as_reward(cast(RewardFunction, lambda question, steps: 1 / len(steps)), SimulatedEngine())
    unsaid = Verifier(cast(RewardFunction, lambda question, steps: blocking(question, [])))
    with pytest.raises(RewardError, match=r"'<lambda>' returned 1\.0.*`async def`"):
        await unsaid.score(QUESTION, [thought("a")], request())


def test_votes_of_an_unfinished_path_go_to_the_most_common_answer() -> None:
    engine = Answers(r"\boxed{12}", r"\boxed{7}", r"so \boxed{12.0}", "I do not know")
    reward = VoteConfidence(engine, samples=4)
    asked = request()
    assert run_virtual(reward.score(QUESTION, [thought("5 + 7")], asked)) == 0.5
    assert {prompt.reply for prompt in engine.prompts} == {"5 + 7\n"}
    assert asked.tokens == 4
    assert [part.id for part in engine.requests] == [f"{asked.id}/{index}" for index in range(4)]
    assert len({part.seed for part in engine.requests}) == 4


def test_votes_of_an_ended_path_are_those_for_its_own_answer() -> None:
    engine = Answers(r"\boxed{12}", r"\boxed{7}", r"\boxed{7}", r"\boxed{7}")
    path = [thought("5 + 7"), thought(r"\boxed{12}", ends=True)]
    reward = VoteConfidence(engine, samples=4)
    assert run_virtual(reward.score(QUESTION, path, request())) == 0.25
    assert {prompt.reply for prompt in engine.prompts} == {"5 + 7\n"}


def test_an_ended_path_without_an_answer_scores_nothing_and_costs_nothing() -> None:
    engine = Answers()
    asked = request()
    path = [thought("and so on", ends=True)]
    assert run_virtual(VoteConfidence(engine).score(QUESTION, path, asked)) == 0
    assert asked.tokens == 0


def test_votes_depend_on_the_path_and_the_seed_alone() -> None:
    async def score(seed: int, *, busy: bool) -> float:
        engine = SimulatedEngine(SyntheticWorld(step_spread=0.3))
        reward = VoteConfidence(engine, samples=16)
        if busy:
            others = [reward.score(QUESTION, [quality(0.3)], request(str(n), n)) for n in range(9)]
            mine = reward.score(QUESTION, [quality(0.5)], request(seed=seed))
            return (await asyncio.gather(*others, mine))[-1]
        return await reward.score(QUESTION, [quality(0.5)], request(seed=seed))

    alone = [run_virtual(score(seed, busy=False)) for seed in range(5)]
    assert alone == [run_virtual(score(seed, busy=True)) for seed in range(5)]
    assert len(set(alone)) > 1


def test_a_failed_completion_aborts_the_others_and_is_raised_flat() -> None:
    engine = Answers(*[r"\boxed{1}"] * 4, EngineError("the server is gone"))
    asked = request()
    with pytest.raises(EngineError, match="the server is gone"):
        run_virtual(VoteConfidence(engine, samples=5).score(QUESTION, [thought("a")], asked))
    assert sorted(engine.aborted) == [f"{asked.id}/{index}" for index in (0, 1, 3)]
    assert asked.tokens == 5


def test_cancelled_votes_leave_no_task_and_count_their_tokens() -> None:
    engine = SimulatedEngine()
    asked = request()

    async def give_up() -> None:
        score = VoteConfidence(engine, samples=4).score(QUESTION, [quality(0.5)], asked)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(score, timeout=0.2)

    run_virtual(give_up())  # which refuses to leave tasks behind
    assert asked.tokens == engine.decoded_tokens > 0


def test_votes_refuse_settings_that_make_no_sense() -> None:
    engine = SimulatedEngine()
    with pytest.raises(SettingsError, match="samples=0"):
        VoteConfidence(engine, samples=0)
    with pytest.raises(SettingsError, match="max_tokens=0"):
        VoteConfidence(engine, max_tokens=0)
    with pytest.raises(SettingsError, match="temperature=0"):
        VoteConfidence(engine, sampling=Sampling(temperature=0))


async def calculate(question: str, *steps: str, rule: Rule = "free") -> float:
    path = [thought(step) for step in steps]
    return await Calculator(rule=rule).score(question, path, request())


@pytest.mark.parametrize(
    "step",
    [
        "17 + 5 = 22",
        "So 17 + 5 = 22, and 22 - 8 = 14.",
        "(17 + 5) / 4 = 5.5",
        "- 17 + 5 = 22",
        "2. 17 + 5 = 22",
        "3 × 4 = 12, 12 ÷ 3 = 4",  # noqa: RUF001
        "-3 + 5 = 2",
        "$1,200 + $34 = $1,234",
        "Let x = y, then we see.",
        "17 + 5 = 22. 22 - 8 = 14. So it is 14.",
        "6 + 6 + 6 = 12 + 6 = 18 = 20 - 2",
        "5 x 3 = 15 and 2x4=8",
        "17 + 5 = 22 (or 23 - 1)",
        "17 + 5 = 22 - no more",
        "2x + 4 = 10, so x - 4 = -1 and x/2 = 1.5",
        "2^3 = 8 and a_1 = 3",
        "3 apples * 2 = 6 apples",
        "50% of 48 = 24, 50% of 48 + 2 = 26, half of 6 = 3",
        "Now add 5.",
        "",
        "3 * 2,50 = 7,50 euros and 1.250,50 + 1 = 1.251,50 and 0,125 * 8 = 1",
        "8 * 5 = 40 cm^2, 8 cm * 5 cm = 40 cm², 8 cm * 5 = 40 cm^2",
        "4.50 € * 3 = 9 € + 4.50 € = 13.50 €",
        "150 km / 2.5 h = 60 km/h, 10 km / 3 h = 3.33 km/h, 2 m + 3 cm = 203 cm",
        "1 1/2 + 1/2 = 2, 2/3 + 5/6 = 1 1/2, 4 + 8 = 12 12/3 = 4",
        "48 : 2 = 24. Step 1 : 3 + 4 = 7. Step 2: 3 + 4 = 7",
        "√16 = 4, √2 * √8 = 4, 3² + 4² = 25, 2^3 + 1 = 9",
        "x = 8/2 = 4. The answer is x = 4",
        "520 cm = 5 m 20 cm and gcd(12,18) = 6",
    ],
)
async def test_a_calculator_accepts_what_holds_and_what_states_nothing(step: str) -> None:
    assert await calculate(QUESTION, step) == 1


@pytest.mark.parametrize(
    "step",
    [
        "17 + 5 = 23",
        "17 + 5 = 22, 22 - 8 = 15",
        "17 + 5 = 22. 22 - 8 = 15.",
        "6 + 6 + 6 = 12 + 7",
        "so 17 + 5 = 23 apples",
        "so -4 + 6 = 3",
        "5 x 3 = 16",
        "1 / 0 = 0",
        "+ 7 = 32",
        "2 ** 9999999 = 1",
        "1 + + = 3",
        "((((1 = 1",
        "1,5 + 2,5 = 5",
        "3 * 2,50 = 7,60 euros",
        "8 cm * 5 cm = 40 cm",
        "2 m + 3 cm = 5 cm",
        "5 * 2 m = 10 cm",
        "150 km / 2.5 h = 60 m/s",
        "4.50 € * 3 = 9 € + 4.60 € = 13.50 €",
        "In 5 min 3 * 4 = 13",
        "2/3 + 5/6 = 2 1/2",
        "48 : 2 = 25",
        "√16 = 5",
        "2^3 + 1 = 10",
        "x = 8/2 = 5. The answer is x = 5",
        "8/2 = 4. The answer is x = 5",
        f"{'1+' * 5000}1 = 5001",
        f"{'(' * 150}1{')' * 150} = 1",
    ],
)
async def test_a_calculator_refuses_what_does_not_hold_or_cannot_be_read(step: str) -> None:
    assert await calculate(QUESTION, step) == 0


async def test_a_calculator_remembers_a_wrong_equation_of_an_earlier_step() -> None:
    assert await calculate(QUESTION, "5 + 7 = 13", "13 + 1 = 14") == 0


async def test_a_calculators_answer_is_the_last_result() -> None:
    assert await calculate(QUESTION, "5 + 7 = 12", "The answer is 12") == 1
    assert await calculate(QUESTION, "5 + 7 = 12", r"\boxed{12.0}") == 1
    assert await calculate(QUESTION, "5 + 7 = 12", "The answer is 13") == 0
    assert await calculate(QUESTION, "The answer is 12") == 0
    assert await calculate(QUESTION, "5 + 7 = 12\nThe answer is 12") == 1  # one whole thought


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("8 * 5 = 40 cm^2", "40 cm^2"),
        ("4.50 € * 3 = 13.50 €", "13.50 €"),
        ("3 * 2,50 = 7,50", "7,50"),
        ("1 + 1/2 = 3/2", "1 1/2"),
        ("48 : 2 = 24", "24 apples"),
    ],
)
async def test_a_calculators_answer_may_have_a_unit(step: str, answer: str) -> None:
    assert await calculate(QUESTION, step, f"The answer is {answer}") == 1
    assert await calculate(QUESTION, step, f"The answer is 9{answer}") == 0


@pytest.mark.parametrize(
    ("step", "answer", "right"),
    [
        ("10 / 3 = 3.33", "10/3", 1.0),
        ("10 / 3 = 3.33", "3.33", 1.0),
        ("10 / 3 = 3.33", "11/3", 0.0),
        ("2 m + 3 cm = 203 cm", "5", 0.0),
        ("2 m + 50 cm = 2.5 m", "52", 0.0),
    ],
)
async def test_a_calculators_answer_may_be_what_the_last_result_is_rounded_from(
    step: str, answer: str, right: float
) -> None:
    assert await calculate(QUESTION, step, f"The answer is {answer}") == right


async def test_a_calculator_may_hold_a_running_total_to_its_order() -> None:
    question = "4, + 8, + 5"
    right = ["4 + 8 = 12", "12 + 5 = 17", "The answer is 17"]
    for end in range(1, 4):
        assert await calculate(question, *right[:end], rule="in order") == 1
    assert await calculate(question, "4 + 5 = 9", rule="in order") == 0  # 8 comes first
    assert await calculate(question, "4 + 8 = 12", "8 + 5 = 13", rule="in order") == 0
    assert await calculate(question, "4 + 8 = 12", "The answer is 12", rule="in order") == 0


def test_a_calculator_says_which_rules_there_are() -> None:
    with pytest.raises(SettingsError, match="rule='twice': must be one of free, once, in order"):
        Calculator(rule="twice")  # type: ignore[arg-type]


async def test_a_calculator_may_hold_each_number_to_be_used_once() -> None:
    question = "4 + 8 + 5 + 4"
    right = ("4 + 8 = 12", "12 + 4 = 16", "16 + 5 = 21", "The answer is 21")
    for end in range(1, 5):
        assert await calculate(question, *right[:end], rule="once") == 1
    assert await calculate(question, "4 + 9 = 13", rule="once") == 0  # 9 is not given
    assert await calculate(question, "4 + 8 = 12", "12 + 8 = 20", rule="once") == 0
    assert await calculate(question, *right[:2], "The answer is 16", rule="once") == 0  # 5 is left
    assert await calculate(question, "4 + 8 = 12", "5 + 4 = 9", "The answer is 9", rule="once") == 0


def test_as_reward_takes_rewards_functions_and_nothing() -> None:
    async def right(question: str, steps: Sequence[str]) -> float:
        return 1.0

    engine = SimulatedEngine()
    judge = Judge(engine)
    assert as_reward(judge, engine) is judge
    assert as_reward(None, engine) == Confidence()
    assert as_reward(right, engine) == Verifier(right)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (None, "reward=None: simulated/.*pass a reward"),
        (Confidence, "reward=Confidence: is a class, pass an instance"),
        (7, "reward=7: must be a Reward, .* an async function"),
        ("judge", r"reward='judge': .*Judge\(model\).* None for .* \(Judge\) where it gives none"),
    ],
)
def test_as_reward_says_what_to_pass(reward: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        as_reward(reward, Featureless())


def test_as_reward_names_what_a_reward_lacks() -> None:
    class Half:
        name = "half"

        async def score(self, *args: object) -> float:
            return 0.5

    with pytest.raises(SettingsError, match="has no needs_logprobs, pure"):
        as_reward(cast(Reward, Half()), SimulatedEngine())


def config(reward: Reward, engine: Engine | None = None, **settings: Any) -> SearchConfig:
    return SearchConfig(
        engine=engine or SimulatedEngine(), policy=Rebase(width=4), reward=reward, **settings
    )


def returning(value: Any) -> Callable[..., Coroutine[Any, Any, float]]:
    async def scripted(question: str, steps: Sequence[str]) -> float:
        if isinstance(value, Exception):
            raise value
        return cast(float, value)

    return scripted


@pytest.mark.parametrize("speculation", [None, Speculation()])
@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "'scripted' returned nan: must be a number in"),
        (1.5, "'scripted' returned 1.5"),
        (-0.1, "'scripted' returned -0.1"),
        (None, "'scripted' returned None"),
        ("0.5", "'scripted' returned '0.5'"),
        (KeyError("x"), r"'scripted' failed: KeyError\('x'\)"),
    ],
)
def test_a_broken_reward_ends_the_search_with_one_clear_error(
    value: Any, message: str, pure: bool, speculation: Speculation | None
) -> None:
    reward = Verifier(returning(value), pure=pure)
    with pytest.raises(RewardError, match=message):
        run_virtual(solve(config(reward, speculation=speculation), QUESTION))


@pytest.mark.parametrize("make", [Judge, lambda engine: VoteConfidence(engine, samples=3)])
def test_rewards_that_ask_a_model_leave_the_tree_as_it_is_without_speculation(
    make: Callable[[SimulatedEngine], Reward],
) -> None:
    async def search(speculation: Speculation | None) -> tuple[str, int, int]:
        engine = SimulatedEngine()
        settings = config(make(engine), engine, speculation=speculation)
        result = await solve(settings, QUESTION, seed=3)
        return result.tree.sha256(), result.ledger.decoded_tokens, engine.decoded_tokens

    plain, speculative = run_virtual(search(None)), run_virtual(search(Speculation()))
    assert plain[0] == speculative[0]
    for _, accounted, decoded in (plain, speculative):
        assert accounted == decoded


def test_the_template_of_a_search_serves_its_votes() -> None:
    template = replace(PromptTemplate(), system="", delimiter=" / ")
    engine = Answers(r"\boxed{1}")
    reward = VoteConfidence(engine, samples=1, template=template)
    run_virtual(reward.score(QUESTION, [thought("a"), thought("b")], request()))
    assert engine.prompts == [Prompt((Message("user", QUESTION),), "a / b / ")]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("3 × 4 = 12", True),  # noqa: RUF001
        (r"3 \times 4 = 12", True),
        (r"$12 \div 4 = 3$", True),
        ("12 ÷ 4 == 3", True),
        ("12 ÷ 4 == 4", False),
        (r"\frac{8}{2} + 1 = 5", True),
        (r"\frac{8}{2} + 1 = 6", False),
        ("10/3 = 3.33", True),
        ("10/3 = 3.34", False),
        ("10/3 ≈ 3.3", True),
        (r"10/3 \approx 3", True),
        ("10/3 = 3", False),
        ("2/3 = 0.67", True),
        ("2/3 = 0.66", False),
        ("2/3 = 0.666...", True),
        ("2/3 = 0.667...", False),
        ("10/4 = 2.50", True),
        ("10/4 = 2.6", False),
        ("-10/3 = -3.33", True),
        ("23 / 3 = 7 R 2", True),
        ("23 ÷ 3 = 7 remainder 2", True),
        ("3(4) = 12", True),
        ("3(4) = 13", False),
        ("(3)(4) = 12 and 2(3 + 4) = 14", True),
        ("(3)(4) = 13", False),
        ("23 / 3 = 7 R 3", False),
        ("23 / 3 = 6 R 5", False),
        ("7 mod 3 = 1", True),
        ("7 mod 3 = 2", False),
        ("007 + 5 = 12", True),
        ("3 + 4 = 7, 7 * 2 = 14", True),
        ("3 + 4 = 7 7 * 2 = 14", True),
        ("3 + 4 = 7 7 * 2 = 15", False),
        ("2 + 3 = 5 = 10 / 2", True),
        ("2 + 3 = 5 = 10 / 5", False),
        ("5 + 3 = 8 - 2 = 6", False),
        ("1,000 + 1 = 1,001", True),
        ("1/2 + 1/4 = 3/4", True),
        ("1/2 + 1/4 = 2/4", False),
    ],
)
def test_sums_are_read_as_models_write_them(text: str, holds: bool) -> None:
    assert all(equation.holds for equation in equations(text)) is holds
    assert list(equations(text))
