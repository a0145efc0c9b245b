"""Token-level speculation on the embedded engine: the same texts in fewer steps."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spex_agents.engines.base import Load, Request, Sampling
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.embedded.llama import Llama
from spex_agents.engines.embedded.lookup import Lookup
from spex_agents.engines.embedded.models import bundled_model
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import SettingsError
from spex_agents.search.tree import Thought

LIST = "apple, pear, plum, cherry, fig, apple, pear, plum, cherry, fig, apple,"
QUESTIONS = (
    Prompt((Message("user", "Go on with the list."),), LIST),
    Prompt((Message("user", "Anna has 3 apples and buys 4 more. How many apples has she?"),)),
    Prompt((Message("user", "Repeat: one two three one two three one two three."),), "one two"),
    Prompt((Message("user", "Tell a story about a bear."),), "There was a bear. There was"),
)


def request(seed: int) -> Request:
    return Request(id=f"drafts/{seed}", seed=seed)


async def think(
    engine: EmbeddedEngine,
    prompts: Sequence[Prompt],
    seed: int,
    sampling: Sampling,
    max_tokens: int = 16,
) -> list[Thought]:
    return await asyncio.gather(
        *(
            engine.generate(prompt, request(seed + n), sampling=sampling, max_tokens=max_tokens)
            for n, prompt in enumerate(prompts)
        )
    )


@pytest.fixture(scope="module")
def plain() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(slots=4, context=512)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture(scope="module")
def drafting() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(slots=4, context=512, draft_tokens=8)
    yield engine
    asyncio.run(engine.aclose())


@pytest.mark.model
@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    temperature=st.sampled_from([0.0, 0.3, 0.8, 1.2]),
    chosen=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=6),
    seed_and_cap=st.tuples(st.integers(0, 2**31), st.integers(1, 24)),
)
def test_texts_are_the_same_for_any_seed_temperature_and_batch(
    plain: EmbeddedEngine,
    drafting: EmbeddedEngine,
    temperature: float,
    chosen: list[Prompt],
    seed_and_cap: tuple[int, int],
) -> None:
    seed, max_tokens = seed_and_cap
    sampling = Sampling(temperature=temperature, stop=("\n",), logprobs=True)

    async def both() -> None:
        with_drafts = await think(drafting, chosen, seed, sampling, max_tokens)
        assert with_drafts == await think(plain, chosen, seed, sampling, max_tokens)

    asyncio.run(both())


@pytest.mark.model
async def test_drafts_are_accepted_and_the_thought_is_the_same_to_the_bit(
    plain: EmbeddedEngine, drafting: EmbeddedEngine
) -> None:
    sampling = Sampling(temperature=0, stop=(), logprobs=True)
    accepted, drafted = drafting.accepted_tokens, drafting.drafted_tokens
    (thought,) = await think(drafting, QUESTIONS[:1], 1, sampling, 40)
    assert [thought] == await think(plain, QUESTIONS[:1], 1, sampling, 40)
    assert drafting.features.exactness == plain.features.exactness == "exact"
    assert drafting.accepted_tokens - accepted >= 20
    assert drafting.drafted_tokens - drafted >= drafting.accepted_tokens - accepted
    assert plain.drafted_tokens == plain.accepted_tokens == 0


@pytest.mark.model
async def test_a_batch_shares_the_drafts_and_a_large_one_has_none(
    plain: EmbeddedEngine, drafting: EmbeddedEngine
) -> None:
    sampling = Sampling(temperature=0, stop=())
    drafted = drafting.drafted_tokens
    same = [QUESTIONS[0]] * 4
    assert await think(drafting, same, 0, sampling, 20) == await think(plain, same, 0, sampling, 20)
    assert drafting.drafted_tokens > drafted
    async with EmbeddedEngine(slots=4, context=512, draft_tokens=3) as engine:
        asked = [request(9) for _ in same]

        async def wrote(tokens: int) -> None:
            with anyio.fail_after(30):
                while min(each.tokens for each in asked) < tokens:  # noqa: ASYNC110 (nobody tells)
                    await anyio.sleep(0.001)

        writing = [
            asyncio.ensure_future(engine.generate(prompt, each, sampling=sampling, max_tokens=400))
            for prompt, each in zip(same, asked, strict=True)
        ]
        await wrote(1)
        drafted = engine.drafted_tokens
        await wrote(10)
        assert engine.drafted_tokens == drafted
        for call in writing:
            call.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


@pytest.mark.model
async def test_a_thought_ends_inside_accepted_drafts(
    plain: EmbeddedEngine, drafting: EmbeddedEngine
) -> None:
    greedy = Sampling(temperature=0, stop=())
    (whole,) = await think(plain, QUESTIONS[:1], 0, greedy, 24)
    assert whole.text.startswith(" pear, plum, fig, apple,")
    for stop in (", fig", " fig, a", "e, pear", "plum, fig, apple"):
        cut_off = Sampling(temperature=0, stop=(stop,), logprobs=True)
        accepted = drafting.accepted_tokens
        asked = request(0)
        thought = await drafting.generate(QUESTIONS[0], asked, sampling=cut_off, max_tokens=24)
        assert [thought] == await think(plain, QUESTIONS[:1], 0, cut_off, 24)
        assert (thought.finish, asked.tokens) == ("step", thought.tokens)
        assert stop not in thought.text
        assert drafting.accepted_tokens > accepted
    for cap in range(1, 12):
        (thought,) = await think(drafting, QUESTIONS[:1], 0, greedy, cap)
        assert (thought.finish, thought.tokens) == ("length", cap)
        assert whole.text.startswith(thought.text)


@pytest.mark.model
async def test_drafts_end_where_the_context_does(plain: EmbeddedEngine) -> None:
    sampling = Sampling(temperature=0, stop=())
    asked = request(0)
    async with EmbeddedEngine(slots=1, context=96, draft_tokens=8) as engine:
        thought = await engine.generate(QUESTIONS[0], asked, sampling=sampling, max_tokens=500)
    assert asked.prompt_tokens + thought.tokens == 96
    assert [thought] == await think(plain, QUESTIONS[:1], 0, sampling, thought.tokens)
    assert thought.finish == "length"


@pytest.mark.model
async def test_cancelling_amid_drafts_settles_the_count_and_leaves_no_trace(
    plain: EmbeddedEngine, drafting: EmbeddedEngine
) -> None:
    sampling = Sampling(temperature=0.8, stop=())
    asked = request(3)
    task = asyncio.ensure_future(
        drafting.generate(QUESTIONS[0], asked, sampling=sampling, max_tokens=400)
    )
    with anyio.fail_after(30):
        while asked.tokens < 5:  # noqa: ASYNC110 (the engine signals nothing)
            await anyio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drafting.load() == Load(running=0, waiting=0)
    tokens = asked.tokens
    after = await think(drafting, QUESTIONS, 3, sampling)
    assert asked.tokens == tokens
    assert after == await think(plain, QUESTIONS, 3, sampling)


@pytest.mark.model
def test_rejected_drafts_leave_the_cache() -> None:
    path = bundled_model()
    assert path is not None
    llama = Llama(path, slots=2, context=256, processors=2, draft_tokens=4)
    prompt, _ = llama.tokens(QUESTIONS[1], thinks=False)
    llama.prefill(0, prompt, 0)
    llama.decode([(0, [prompt[1]], len(prompt))])
    llama.decode([(0, [prompt[2]], len(prompt) + 1)])
    every = range(1000)
    expected = llama.log_probabilities(0, every)
    llama.share(0, 0, len(prompt))
    llama.decode([(0, [prompt[1], prompt[5], prompt[6]], len(prompt))])
    llama.share(0, 0, len(prompt) + 1)
    llama.decode([(0, [prompt[2]], len(prompt) + 1)])
    assert llama.log_probabilities(0, every) == expected
    llama.close()


@pytest.mark.model
def test_a_cache_that_the_model_cannot_have_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundled_model()
    assert path is not None
    monkeypatch.setattr(
        "spex_agents.engines.embedded.lanes._CACHE_TYPES", (12, 30)
    )  # blocks of 256
    llama = Llama(path, slots=2, context=256, processors=2, draft_tokens=4)
    assert llama.batch_invariant()
    llama.close()


@pytest.mark.model
async def test_a_child_does_not_evaluate_its_parent_s_text_again(
    plain: EmbeddedEngine, drafting: EmbeddedEngine
) -> None:
    sampling = Sampling(temperature=0, stop=("\n",))
    question = Prompt((Message("user", "Name five rivers of Europe, one a line."),))
    parent = await plain.generate(question, request(0), sampling=sampling, max_tokens=48)
    assert parent.tokens > 8
    before = plain.prefilled_tokens
    child = Prompt(question.messages, parent.text + "\n")
    thought = await plain.generate(child, request(1), sampling=sampling, max_tokens=8)
    assert plain.prefilled_tokens - before <= 2
    # The other engine has to evaluate all of it.
    assert thought == await drafting.generate(child, request(1), sampling=sampling, max_tokens=8)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 6))
def test_a_draft_followed_the_same_tokens_before(text: list[int], limit: int) -> None:
    lookup = Lookup()
    lookup.learn(text, 0)
    draft = lookup.draft(text, limit)
    assert len(draft) <= limit
    pairs = list(pairwise(text))
    known = len(text) >= 2 and (text[-2], text[-1]) in pairs[:-1]
    assert bool(draft) is known
    if draft:
        spot = [*text[-2:], *draft]
        assert any(text[at : at + len(spot)] == spot for at in range(len(text)))


def test_what_a_sibling_wrote_is_drafted_and_may_still_grow() -> None:
    lookup, sibling = Lookup(), [1, 2, 3, 4]
    lookup.learn(sibling, 0)
    assert lookup.draft([9, 2, 3], 4) == [4]
    sibling += [5, 6]
    assert lookup.draft([9, 2, 3], 4) == [4, 5, 6]
    assert lookup.draft([9, 9], 4) == []


@pytest.mark.parametrize("draft_tokens", [-1, 32])
def test_drafts_outside_their_range_are_named(draft_tokens: int) -> None:
    with pytest.raises(SettingsError, match=f"draft_tokens={draft_tokens}"):
        EmbeddedEngine(draft_tokens=draft_tokens)
