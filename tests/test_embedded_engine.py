"""The embedded engine, on the real model."""

import asyncio
import gc
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from spex_agents.engines.base import Load, Request, Sampling
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0, stop=())
FREE = Sampling(temperature=1, top_k=0, top_p=1, stop=())
FACTS = " ".join(f"Fact {n}: item {n} weighs {n * 7 % 13} kg." for n in range(12))


def ask(question: str, reply: str = "") -> Prompt:
    return Prompt((Message("user", question),), reply)


def request(seed: int = 0, *, demanded: bool = True) -> Request:
    return Request(id=f"test/{seed}", seed=seed, demanded=demanded)


async def until(engine: EmbeddedEngine, condition: Callable[[Load], bool]) -> None:
    with anyio.fail_after(30):
        while not condition(await engine.load()):  # noqa: ASYNC110 (the engine signals nothing)
            await anyio.sleep(0.001)


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(slots=8, context=1024)
    yield engine
    asyncio.run(engine.aclose())


async def test_it_knows_a_fact(engine: EmbeddedEngine) -> None:
    prompt = ask("What is the capital of France?", "The capital of France is")
    asked = request()
    thought = await engine.generate(
        prompt, asked, sampling=Sampling(temperature=0, stop=(".",)), max_tokens=8
    )
    assert (thought.text, thought.finish, thought.ends) == (" Paris", "step", False)
    assert thought.tokens == asked.tokens == 2
    assert thought.logprobs is None


@pytest.mark.parametrize("before", ["    return", "    return a", "\n   ", " "])
async def test_a_thought_keeps_the_space_that_it_begins_with(
    engine: EmbeddedEngine, before: str
) -> None:
    prompt = ask("Write add(a, b).", f"```python\ndef add(a, b):{before}")
    thought = await engine.generate(prompt, request(), sampling=GREEDY, max_tokens=4)
    assert thought.text[0].isspace()
    assert not thought.text.isspace()


async def test_the_model_s_own_end_ends_the_path(engine: EmbeddedEngine) -> None:
    prompt = ask("What is the capital of France?", "The capital of France is Paris.")
    thought = await engine.generate(prompt, request(), sampling=GREEDY, max_tokens=8)
    assert (thought.text, thought.finish, thought.ends) == ("", "stop", True)


async def test_a_thought_ends_at_its_token_cap(engine: EmbeddedEngine) -> None:
    asked = request()
    thought = await engine.generate(ask("Count.", "1, 2, 3"), asked, sampling=GREEDY, max_tokens=5)
    assert (thought.finish, thought.ends, thought.tokens, asked.tokens) == ("length", False, 5, 5)


async def test_a_thought_ends_before_the_first_of_its_delimiters(engine: EmbeddedEngine) -> None:
    prompt = ask("Count from one.", "1, 2, 3, 4, 5,")
    sampling = Sampling(temperature=0, stop=(" 8", ", 7"))
    thought = await engine.generate(prompt, request(), sampling=sampling, max_tokens=20)
    assert (thought.text, thought.finish) == (" 6", "step")


async def test_a_seed_gives_the_same_thought_in_any_batch(engine: EmbeddedEngine) -> None:
    prompt = ask(FACTS + " Tell a story about the items.")

    async def think(seed: int) -> Thought:
        return await engine.generate(prompt, request(seed), sampling=FREE, max_tokens=12)

    async def disturb(seed: int) -> None:
        with anyio.move_on_after(0.05 * seed):
            other = ask(f"Case {seed}. Tell a long story.")
            await engine.generate(other, request(seed), sampling=FREE, max_tokens=90)

    seeds = range(10)  # more than there are slots
    alone = [await think(seed) for seed in seeds]
    assert len({thought.text for thought in alone}) == len(seeds)
    assert await asyncio.gather(*map(think, seeds)) == alone
    disturbed, *_ = await asyncio.gather(
        asyncio.gather(*map(think, seeds)), *map(disturb, range(1, 9))
    )
    assert disturbed == alone
    assert engine.features.exactness == "exact"


async def test_a_shared_prefix_is_evaluated_once(engine: EmbeddedEngine) -> None:
    prompt = ask("A new topic: gardens. " + FACTS)
    before = engine.prefilled_tokens
    await engine.generate(prompt, request(), sampling=FREE, max_tokens=1)
    once = engine.prefilled_tokens - before
    assert once > 100
    children = [ask("Another topic: lakes. " + FACTS, f"Step {n}") for n in range(8)]
    before = engine.prefilled_tokens
    await asyncio.gather(
        *(engine.generate(child, request(), sampling=FREE, max_tokens=8) for child in children)
    )
    assert once / 2 < engine.prefilled_tokens - before < 1.3 * once


async def test_a_branch_goes_on_from_its_own_text_though_another_has_its_stream() -> None:
    story = ask("Count.", "one two three four five six seven eight nine ten eleven twelve")
    greedy = Sampling(temperature=0, stop=())

    async def branch(engine: EmbeddedEngine, begin: str, seed: int) -> Thought:
        prompt = Prompt(story.messages, story.reply + begin)
        return await engine.generate(prompt, request(seed), sampling=greedy, max_tokens=4)

    for slots in (1, 3, 8):
        async with EmbeddedEngine(slots=slots, context=512) as engine:
            await branch(engine, "", 0)
            begins = [f" {animal}" * 8 for animal in ("cat", "dog", "cow", "hen")]
            thoughts = await asyncio.gather(*(branch(engine, text, 1) for text in begins))
            before = engine.prefilled_tokens
            # The first one twice, so that each of the others is seated where another one was.
            again = await asyncio.gather(*(branch(engine, text, 1) for text in begins[:1] + begins))
            assert again == thoughts[:1] + thoughts
            if slots == 8:
                assert engine.prefilled_tokens - before == len(again)


async def test_a_prompt_is_counted_whole_whatever_of_it_was_evaluated_before(
    engine: EmbeddedEngine,
) -> None:
    prompt, longer = ask("A topic of its own: rivers. "), ask("A topic of its own: rivers. " * 2)
    counted, cached = [], []
    for one in (prompt, prompt, longer):
        before = engine.prefilled_tokens
        await engine.generate(one, asked := request(), sampling=FREE, max_tokens=1)
        counted.append(asked.prompt_tokens)
        cached.append(asked.cached_tokens)
        assert asked.prompt_tokens - asked.cached_tokens == engine.prefilled_tokens - before
    first, again, more = counted
    assert 15 < first == again < more < first + 15
    assert cached[1] == first - 1


async def test_sharing_a_prefix_does_not_change_a_thought(engine: EmbeddedEngine) -> None:
    prompt = ask("A last topic: scales. " + FACTS, "So the heaviest item is")
    before = engine.prefilled_tokens
    first = await engine.generate(prompt, request(3), sampling=FREE, max_tokens=12)
    evaluated = engine.prefilled_tokens
    assert evaluated - before > 100
    again = await engine.generate(prompt, request(3), sampling=FREE, max_tokens=12)
    assert again == first
    assert engine.prefilled_tokens - evaluated == 1


async def test_cancelling_frees_the_slot_and_settles_the_token_count(
    engine: EmbeddedEngine,
) -> None:
    asked = [request(seed) for seed in range(3)]
    prompt = ask("Tell a very long story.")
    tasks = [
        asyncio.ensure_future(engine.generate(prompt, one, sampling=FREE, max_tokens=500))
        for one in asked
    ]
    await until(engine, lambda _: all(one.tokens >= 3 for one in asked))
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert await engine.load() == Load(running=0, waiting=0)
    counts = [one.tokens for one in asked]
    await engine.generate(prompt, request(), sampling=FREE, max_tokens=4)
    assert [one.tokens for one in asked] == counts


async def test_demanded_requests_are_admitted_first_and_promotion_moves_forward() -> None:
    order: list[str] = []

    async def think(name: str, asked: Request) -> None:
        await single.generate(ask(f"Say {name}."), asked, sampling=FREE, max_tokens=2)
        order.append(name)

    async with EmbeddedEngine(slots=1, context=512) as single, anyio.create_task_group() as tasks:
        holder = asyncio.ensure_future(
            single.generate(ask("Story."), request(), sampling=FREE, max_tokens=400)
        )
        await until(single, lambda load: load.running == 1)
        promoted = request(2, demanded=False)
        tasks.start_soon(think, "speculative", request(1, demanded=False))
        tasks.start_soon(think, "promoted", promoted)
        tasks.start_soon(think, "demanded", request(3))
        await until(single, lambda load: load.waiting == 3)
        promoted.demanded = True
        await single.promote(promoted)
        holder.cancel()
    assert order == ["promoted", "demanded", "speculative"]


async def test_logprobs_are_the_model_s_own(engine: EmbeddedEngine) -> None:
    prompt = ask("What is the capital of France?", "The capital of France is")
    sampling = Sampling(temperature=0, stop=(), logprobs=True)
    thought = await engine.generate(prompt, request(), sampling=sampling, max_tokens=4)
    assert thought.logprobs is not None
    assert len(thought.logprobs) == thought.tokens
    assert all(logprob <= 0 for logprob in thought.logprobs)
    chances = await engine.score(prompt, request(), labels=[" Paris"])
    assert math.exp(thought.logprobs[0]) == pytest.approx(chances[" Paris"], rel=1e-6)


async def test_score_gives_the_chance_of_each_label(engine: EmbeddedEngine) -> None:
    asked = request()
    prompt = ask("What is the capital of France?", "The capital of France is")
    chances = await engine.score(prompt, asked, labels=[" London", " Paris"])
    assert list(chances) == [" London", " Paris"]
    assert chances[" Paris"] > 0.8
    assert 0 < chances[" London"] < 0.1
    assert asked.tokens == 0


async def test_labels_that_cannot_be_told_apart_are_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(EngineError, match="share a first token"):
        await engine.score(ask("?"), request(), labels=["yes", "yes."])
    with pytest.raises(EngineError, match="no token"):
        await engine.score(ask("?"), request(), labels=["yes", ""])
    with pytest.raises(EngineError, match="at least one label"):
        await engine.score(ask("?"), request(), labels=[])


async def test_a_prompt_beyond_the_context_is_refused_with_numbers(
    engine: EmbeddedEngine,
) -> None:
    with pytest.raises(EngineError, match=r"has \d{4} tokens, but context=1024"):
        await engine.generate(ask("word " * 1100), request(), sampling=GREEDY, max_tokens=4)
    assert (await engine.load()).running == 0


async def test_a_thought_ends_where_the_context_does() -> None:
    async with EmbeddedEngine(slots=1, context=64) as engine:
        thought = await engine.generate(
            ask("Count to a thousand.", "1, 2, 3,"), request(), sampling=GREEDY, max_tokens=500
        )
    assert thought.finish == "length"
    assert thought.tokens < 64


def test_one_engine_serves_one_event_loop_after_another(engine: EmbeddedEngine) -> None:
    async def think() -> Thought:
        return await engine.generate(ask("Hi"), request(5), sampling=FREE, max_tokens=4)

    assert asyncio.run(think()) == asyncio.run(think())


async def test_a_closed_engine_refuses_calls_and_closing_twice_is_fine() -> None:
    engine = EmbeddedEngine(slots=2, context=256)
    going = asyncio.ensure_future(
        engine.generate(ask("Story."), request(), sampling=FREE, max_tokens=200)
    )
    await until(engine, lambda load: load.running == 1)
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await going
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(ask("Hi"), request(), sampling=FREE, max_tokens=4)
    with pytest.raises(EngineError, match="closed"):
        await engine.load()
    assert "closed" in repr(engine)


async def test_an_engine_that_is_dropped_ends_its_thread() -> None:
    def threads() -> int:
        return sum(thread.name == "spex-embedded" for thread in threading.enumerate())

    before = threads()
    engine = EmbeddedEngine(slots=1, context=256)
    await engine.generate(ask("Hi"), request(), sampling=FREE, max_tokens=1)
    assert threads() == before + 1
    del engine
    gc.collect()
    assert threads() == before


async def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    async with EmbeddedEngine(slots=1, context=256) as engine:
        await engine.generate(ask("Hi"), request(), sampling=FREE, max_tokens=2)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"model='/no/model.gguf'.*a GGUF file"):
        EmbeddedEngine("/no/model.gguf")


async def test_layers_for_a_gpu_that_is_not_there_are_refused() -> None:
    engine = EmbeddedEngine(slots=1, context=256, gpu_layers=10)
    with pytest.raises(EngineError, match=r"gpu_layers=10: llama\.cpp finds no GPU"):
        await engine.generate(ask("Hi"), request(), sampling=FREE, max_tokens=2)
    await engine.aclose()


async def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model")
    engine = EmbeddedEngine(path)
    assert engine.name == "embedded/model"
    for _ in range(2):
        with pytest.raises(EngineError, match=r"model\.gguf': llama\.cpp cannot load it"):
            await engine.generate(ask("Hi"), request(), sampling=FREE, max_tokens=2)
    await engine.aclose()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"slots": 0}, "slots=0"),
        ({"context": 1}, "context=1"),
        ({"threads": 0}, "threads=0"),
        ({"gpu_layers": -1}, "gpu_layers=-1"),
    ],
)
def test_settings_outside_their_range_are_named(settings: dict[str, int], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        EmbeddedEngine(**settings)  # type: ignore[arg-type]
