"""A chat model where an engine is expected: whole conversations, free text, what providers do."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from openai import BadRequestError
from pydantic import BaseModel, Field, create_model
from typer.testing import CliRunner
from typing_extensions import TypedDict

from spex_agents.answers import MaxTokens, Standing, TerminationRule
from spex_agents.cli import app
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import Message, Prompt, PromptTemplate
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, SettingsError
from spex_agents.named import make_engine
from spex_agents.nodes import create_tot_graph, create_tot_node, create_tot_tool
from spex_agents.nodes.conversation import conversation_in
from spex_agents.rewards import Judge
from spex_agents.search import BestOfN, Limits, Rebase, TotBfs
from spex_agents.speculation.config import Failures

HI = "Hi, who are you?"


class Says(BaseChatModel):
    """Says one thing after the other, and notes what it was asked; may fail or refuse."""

    replies: list[Any]
    asked: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)
    refuses: dict[str, str] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        self.asked.append((messages, kwargs))
        for name, told in self.refuses.items():
            if name in kwargs:
                raise bad_request(told, name)
        said = self.replies[(len(self.asked) - 1) % len(self.replies)]
        message = AIMessage(said) if isinstance(said, str) else said
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[tool["name"] for tool in tools], **kwargs)


def bad_request(message: str, parameter: str | None) -> BadRequestError:
    """As OpenAI's client raises it."""
    body = {"message": message, "type": "invalid_request_error", "param": parameter}
    response: Any = httpx.Response(
        400, request=httpx.Request("POST", "https://example.org"), json=body
    )
    return BadRequestError(f"Error code: 400 - {body}", response=response, body=body)


async def half(question: str, steps: Sequence[str]) -> float:
    return 0.5


def chat(engine: Any, **search: Any) -> Any:
    node = create_tot_node(engine, **{"policy": BestOfN(width=2), "reward": half, **search})
    return StateGraph(MessagesState).add_node("think", node).add_edge(START, "think").compile()


async def reply_to(engine: Any, *messages: Any, **search: Any) -> AIMessage:
    result = await chat(engine, **search).ainvoke({"messages": list(messages)})
    said: AIMessage = result["messages"][-1]
    return said


# Where an engine is expected


async def test_a_chat_model_is_an_engine_everywhere() -> None:
    model = FakeListChatModel(responses=["Answer: 12", "Answer: 12", "Yes"])
    graph = create_tot_graph(model, policy=BestOfN(width=2), reward=half).compile()
    assert (await graph.ainvoke({"question": "5 + 7?"}))["answer"] == "12"
    tool = create_tot_tool(model, policy=BestOfN(width=2), reward=half)
    assert await tool.ainvoke({"question": "5 + 7?"}) == "12"
    assert (await reply_to(model, ("user", "5 + 7?"))).content == "12"
    given: Any = model
    assert isinstance(Judge(given).engine, ChatModelEngine)


async def test_its_own_opinion_is_the_reward_where_none_is_given() -> None:
    model = Says(replies=["I am a bot.", "Yes"])
    assert (await reply_to(model, ("user", HI), policy=BestOfN(width=1), reward=None)).text
    asked = [messages[-1].text for messages, _ in model.asked]
    assert asked[0] == HI
    assert "Is the last step correct" in asked[1]


@pytest.mark.parametrize(
    ("said", "score"), [("Yes", 1.0), ("No.", 0.0), ("yes, it is not wrong", 1.0), ("Hm", 0.5)]
)
async def test_a_judge_without_log_probabilities_is_read(said: str, score: float) -> None:
    model: Any = FakeListChatModel(responses=[said])
    judge = Judge(model)
    thought = await write(ChatModelEngine(FakeListChatModel(responses=["It is 4."])))
    assert await judge.score("2 + 2?", [thought], Request(id="r/0/reward-1", seed=1)) == score


async def test_a_judge_that_never_judges_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = create_tot_node(Says(replies=["Maybe."]), policy=BestOfN(width=3), speculation=None)
    await node.ainvoke({"messages": [("user", HI)]})
    (told,) = [message for message in caplog.messages if "judges with none of" in message]
    assert told.startswith("chat-model/Says judges with none of Yes, No: it said 'Maybe.'")
    assert "reward=" in told


async def test_a_judge_reads_log_probabilities_where_the_model_sends_them() -> None:
    class Sure(Says):
        top_logprobs: int | None = None

    told = [{"token": "Yes", "logprob": -0.2877}, {"token": " no", "logprob": -1.3863}]
    logprobs = {"content": [{"token": "Yes", "logprob": -0.2877, "top_logprobs": told}]}
    model = Sure(replies=[AIMessage("Yes", response_metadata={"logprobs": logprobs})])
    chances = await ChatModelEngine(model).score(
        Prompt((Message("user", "?"),)), Request(id="r/0/reward-1", seed=1), labels=("Yes", "No")
    )
    assert chances == {"Yes": pytest.approx(0.75, abs=1e-3), "No": pytest.approx(0.25, abs=1e-3)}
    assert model.asked[0][1]["top_logprobs"] == 5


async def test_a_model_is_named_by_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for engine in (as_engine("openai:gpt-4.1-mini"), make_engine("openai:gpt-4.1-mini")):
        assert engine.name == "chat-model/gpt-4.1-mini"
    with pytest.raises(SettingsError, match=r"(?s)engine='nobody:m'.*provider:model"):
        as_engine("nobody:m")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SettingsError, match="api_key"):
        as_engine("openai:gpt-4.1-mini")


KEYS = {
    "openai:gpt-5-mini": "OPENAI_API_KEY",
    "anthropic:claude-haiku-4-5": "ANTHROPIC_API_KEY",
    "google_genai:gemini-2.5-flash": "GOOGLE_API_KEY",
}


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_a_named_model_without_its_key_is_refused_before_any_call(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (*KEYS.values(), "GEMINI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(one, raising=False)
    ways: list[Callable[[], object]] = [
        lambda: as_engine(name),
        lambda: make_engine(name),
        lambda: create_tot_graph(name),
    ]
    for way in ways:
        with pytest.raises(SettingsError, match=f"engine='{name}'.*{key}"):
            way()
    for command in (["solve", HI, "--engine", name], ["gateway", "--engine", name]):
        told = CliRunner().invoke(app, command)
        assert told.exit_code == 2
        assert key in told.stderr
    monkeypatch.setenv(key, "a key")
    assert as_engine(name).name == f"chat-model/{name.partition(':')[2]}"


@pytest.mark.parametrize(
    ("fields", "refused"),
    [(("maker_api_key",), True), (("maker_api_key", "credentials"), False)],
    ids=["key alone", "other credentials"],
)
def test_a_key_is_asked_for_where_nothing_else_signs_in(
    fields: Sequence[str], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Maker(FakeListChatModel):
        responses: list[str] = Field(default_factory=list)

        @property
        def lc_secrets(self) -> dict[str, str]:
            return {"maker_api_key": "MAKER_API_KEY"}

    own: dict[str, Any] = dict.fromkeys(fields, (Any, None))
    made: Any = create_model("Made", __base__=Maker, **own)
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: made())
    if refused:
        with pytest.raises(SettingsError, match="has no key: set MAKER_API_KEY"):
            as_engine("maker:large")
    else:
        assert as_engine("maker:large").name == "chat-model/Made"


async def test_what_is_bound_to_a_model_stays_bound() -> None:
    model = Says(replies=["Answer: 12"])
    bound = model.bind_tools([{"name": "add"}]).with_config(tags=["mine"])
    assert as_engine(bound).name == "chat-model/Says"
    assert (await reply_to(bound, ("user", "5 + 7?"))).content == "12"
    assert {tuple(keywords["tools"]) for _, keywords in model.asked} == {("add",)}


@pytest.mark.parametrize("said", ["", "Let me look."])
@pytest.mark.parametrize(("failures", "calls"), [(Failures(), 3), (None, 1)])
async def test_a_call_of_a_tool_that_is_bound_to_a_model_is_no_thought(
    said: str, failures: Failures | None, calls: int
) -> None:
    model = Says(replies=[AIMessage(said, tool_calls=[CALL])])
    bound = model.bind_tools([{"name": "look_up"}])
    settings: dict[str, Any] = {"policy": BestOfN(width=8, batch=1), "speculation": None}
    node = create_tot_node(bound, failures=failures, **settings)
    with pytest.raises(EngineError, match=r"called look_up\(\), which .*SpexMiddleware"):
        await node.ainvoke({"messages": [("user", "What is a pear?")]})
    assert len(model.asked) == calls


async def test_structured_output_of_a_model_is_told_as_json() -> None:
    class Sum(BaseModel):
        total: int

    structured = FakeListChatModel(responses=['{"total": 12}']) | PydanticOutputParser(
        pydantic_object=Sum
    )
    assert (await write(ChatModelEngine(structured, parameters={}))).text == '{"total":12}'


async def test_options_that_the_model_has_of_its_own_are_kept() -> None:
    class Own(Says):
        temperature: float | None = 0.1

    model = Own(replies=["Answer: 12"])
    await reply_to(model, ("user", "5 + 7?"))
    assert {tuple(sorted(keywords)) for _, keywords in model.asked} == {("max_tokens",)}


# Conversations

IMAGE = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
CALL = {"name": "look_up", "args": {"word": "pear"}, "id": "call_abc123", "type": "tool_call"}
TALK: list[BaseMessage] = [
    SystemMessage("You are a pirate."),
    HumanMessage([{"type": "text", "text": "What is on it?"}, IMAGE]),
    AIMessage("I look.", tool_calls=[CALL], additional_kwargs={"signature": "xyz"}),
    ToolMessage("a fruit", tool_call_id="call_abc123", name="look_up"),
]


async def test_the_whole_conversation_goes_to_a_chat_model_as_it_is() -> None:
    model = Says(replies=["Arr, a pear."])
    reply = await reply_to(model, *TALK)
    assert reply.content == "Arr, a pear."
    for messages, _ in model.asked:
        for given, sent in zip(TALK, messages, strict=True):
            assert (sent.type, sent.content) == (given.type, given.content)
        assert isinstance(messages[2], AIMessage)
        assert messages[2].tool_calls == [CALL]
        assert messages[2].additional_kwargs == {"signature": "xyz"}


async def test_the_steps_so_far_come_after_what_the_tools_have_returned() -> None:
    model = Says(
        replies=["First I look.\n\nThen I know.", "It is a pear.\n\nMore.", "Answer: pear"]
    )
    reply = await reply_to(model, *TALK, policy=Rebase(width=1), speculation=None)
    kinds = [[message.type for message in messages] for messages, _ in model.asked]
    asked = ["system", "human", "ai", "tool"]
    assert kinds == [asked, [*asked, "ai", "human"], [*asked, "ai", "human"]]
    assert model.asked[2][0][4].text == "First I look.\n\nIt is a pear."
    assert reply.content == "pear"


async def test_engines_of_text_are_told_it_in_words_and_refuse_what_is_none() -> None:
    engine = EmbeddedEngine()
    words = conversation_in([*TALK[:1], HumanMessage("What is it?"), *TALK[2:]], engine)
    assert [(turn.role, turn.content) for turn in words.turns] == [
        ("system", "You are a pirate."),
        ("user", "What is it?"),
        ("assistant", 'I look.\n[calls look_up with {"word": "pear"}]'),
        ("user", "Result of look_up:\na fruit"),
    ]
    with pytest.raises(SettingsError, match="takes text alone, and there is content of type image"):
        conversation_in(TALK, engine)


@pytest.mark.parametrize(
    "given",
    [HI, ("user", HI), [("user", HI)], [{"role": "user", "content": HI}], [HumanMessage(HI)]],
    ids=["text", "pair", "pairs", "dicts", "messages"],
)
async def test_messages_are_taken_in_every_form(given: Any) -> None:
    model = Says(replies=["I am a bot."])
    node = create_tot_node(model, policy=BestOfN(width=1), reward=half)
    assert (await node.ainvoke({"messages": given}))["messages"][0].content == "I am a bot."
    assert model.asked[0][0][-1].content == HI


# Free text


async def test_a_reply_without_a_marked_answer_is_the_answer() -> None:
    reply = await reply_to(Says(replies=["I am a bot."]), ("user", HI))
    assert reply.content == "I am a bot."
    assert "reasoning_content" not in reply.additional_kwargs
    assert reply.response_metadata["spex"]["answer"] == "I am a bot."


async def test_texts_that_agree_are_one_answer_and_a_reward_decides_between_others() -> None:
    agreeing = Says(replies=["Paris it is.", "Lyon, I think.", "paris  it is."])
    assert (await reply_to(agreeing, ("user", HI), policy=BestOfN(width=3))).text == "Paris it is."

    async def lyon(question: str, steps: Sequence[str]) -> float:
        return float("Lyon" in steps[-1])

    judged = Says(replies=["Paris it is.", "Lyon, I think.", "paris  it is."])
    reply = await reply_to(judged, ("user", HI), policy=BestOfN(width=3), reward=lyon)
    assert reply.text == "Lyon, I think."


async def test_a_text_of_several_steps_is_whole_and_has_no_delimiter_at_its_end() -> None:
    model = Says(replies=["One.\n\nTwo.\n\n", "Two.\n\n"])
    reply = await reply_to(model, ("user", HI), policy=Rebase(width=1), speculation=None)
    assert reply.text == "One.\n\nTwo."


async def test_a_model_that_is_done_says_so_and_that_is_no_part_of_its_reply() -> None:
    model = Says(replies=["One.\n\nTwo.", "<end>"])
    alone: Any = {"policy": TotBfs(width=1, keep=1), "speculation": None}
    assert (await reply_to(model, ("user", HI), **alone)).text == "One."


# Answers of a given form


class City(BaseModel):
    name: str
    people: int


class CityDict(TypedDict):
    name: str
    people: int


@pytest.mark.parametrize("schema", [City, City.model_json_schema(), CityDict])
async def test_answers_of_a_form_are_voted_on_field_by_field(schema: Any) -> None:
    model = Says(
        replies=[
            'It is {"name": "Paris", "people": 1}',
            '{"name": "Paris", "people": 2}',
            '{"name": "Lyon", "people": 2}',
            '{"name": "Paris"}',
        ]
    )
    graph = create_tot_graph(model, policy=BestOfN(width=4), reward=half, answer_schema=schema)
    assert (await graph.compile().ainvoke({"question": "Where?"}))["answer"] == {
        "name": "Paris",
        "people": 2,
    }
    assert "JSON schema" in model.asked[0][0][0].text


async def test_a_form_is_the_one_ending_that_is_asked_for() -> None:
    given = {"reward": half, "answer_schema": City}
    for more in ({}, {"template": PromptTemplate(system='End with "Answer:".')}):
        model = Says(replies=['{"name": "Paris", "people": 2}'])
        made: Any = {**given, **more}
        await create_tot_graph(model, **made).compile().ainvoke({"question": "Where?"})
        told = model.asked[0][0][0].text
        assert "End with a JSON object" in told
        assert ("Answer:" in told) == bool(more)  # but what its user says
    engine = create_tot_graph(SimulatedEngine(), answer_schema=City).compile().search
    assert "boxed" not in engine.template.system
    assert "one short step a line" in engine.template.system


async def test_a_form_is_asked_for_beside_the_system_message_of_a_conversation() -> None:
    model = Says(replies=['{"name": "Paris", "people": 2}'])
    reply = await reply_to(model, *TALK, answer_schema=City)
    assert reply.content == '{"name": "Paris", "people": 2}'
    assert model.asked[0][0][0].text.startswith("You are a pirate.\n\nEnd with a JSON object")


async def test_that_no_reply_has_the_form_is_told_with_a_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = create_tot_node(Says(replies=["It is Paris."]), reward=half, answer_schema=City)
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think").compile()
    last = (await graph.ainvoke({"messages": [HumanMessage("Where?")]}))["messages"][-1]
    assert last.response_metadata["spex"]["answer"] is None
    assert "answer_schema=" in caplog.text


@pytest.mark.parametrize("form", [City, None])
async def test_a_limit_that_leaves_no_answer_is_told(
    form: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made: Any = {} if form is None else {"answer_schema": form}
    model = Says(replies=["So far.\n\nAnd on."])
    node = create_tot_node(model, reward=half, termination=MaxTokens(1), **made)
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think").compile()
    last = (await graph.ainvoke({"messages": [HumanMessage("Where?")]}))["messages"][-1]
    assert last.response_metadata["spex"]["answer"] is None
    told = [message for message in caplog.messages if message.startswith("no answer")]
    assert told == ["no answer: ended by MaxTokens(limit=1) before any path had one"]


@pytest.mark.parametrize(
    ("limits", "cut"),
    [(Limits(depth=1), True), (Limits(path_tokens=3), True), (Limits(depth=2), False)],
)
async def test_an_answer_that_limits_have_cut_is_told(
    limits: Limits, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = Says(replies=["So 12 + 7 is 19.\n\nNext, 19 + 30.", "That is 49."])
    policy = Rebase(width=1)
    node = create_tot_node(model, reward=half, policy=policy, limits=limits, speculation=None)
    last = await node.ainvoke({"messages": [("user", "12 + 7 + 30?")]})
    assert last["messages"][-1].text.startswith("So 12 + 7 is 19.")
    told = [message for message in caplog.messages if "no path ended by itself" in message]
    assert len(told) == cut
    assert all(repr(limits) in message for message in told)


async def test_a_rule_sees_what_was_sent_and_written_for_all_calls() -> None:
    class Bound(TerminationRule):
        def __call__(self, standing: Standing) -> bool:
            seen.append((standing.sent, standing.decoded))
            return standing.sent >= 100

    seen: list[tuple[int, int]] = []
    policy, limits = Rebase(width=2), Limits(depth=9)
    model = Says(replies=["So far.\n\nAnd on."])
    made: Any = {"policy": policy, "limits": limits, "reward": half, "termination": Bound()}
    graph = create_tot_graph(model, speculation=None, **made).compile()
    result = await graph.ainvoke({"question": "Where?"})
    assert result["stopped"]
    assert seen[0] == (0, 0)
    assert seen == sorted(seen)
    assert seen[-1] == (result["ledger"]["sent_tokens"], result["ledger"]["decoded_tokens"])
    assert seen[-2][0] < 100 <= seen[-1][0]


async def test_the_calls_of_a_chat_model_are_few_where_nobody_says_how_many() -> None:
    model = Says(replies=["It is Paris."])
    await create_tot_graph(model, reward=half).compile().ainvoke({"question": "Where?"})
    assert len(model.asked) == 4


@pytest.mark.parametrize("schema", [int, "City", {"type": "array"}, {"type": "nothing"}])
def test_a_form_that_is_none_is_refused(schema: Any) -> None:
    with pytest.raises(SettingsError, match="answer_schema="):
        create_tot_graph(Says(replies=["?"]), reward=half, answer_schema=schema)


# What providers do


async def write(engine: ChatModelEngine, **sampling: Any) -> Any:
    return await engine.generate(
        Prompt((Message("user", "2 + 2?"),)),
        Request(id="run/0/thought-1", seed=7),
        sampling=Sampling(**sampling),
        max_tokens=16,
    )


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0.8 with this model."),
        ("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model."),
        ("stop", "Unsupported parameter: 'stop' is not supported with this model."),
        ("stop", "stop_sequences: each stop sequence must contain non-whitespace"),
        ("stop", "Invalid 'stop': array too long. Expected at most 4"),
    ],
)
async def test_a_parameter_that_is_refused_is_left_out_and_remembered(
    parameter: str, told: str
) -> None:
    names = {name: name for name in ("temperature", "max_tokens", "stop")}

    class Refuses(Says):
        def _generate(self, messages: Any, stop: Any = None, *_: Any, **kwargs: Any) -> ChatResult:
            given = {**kwargs, **({"stop": stop} if stop else {})}
            return super()._generate(messages, **given)

    model = Refuses(replies=["It is 4.\nSo on."], refuses={parameter: told})
    engine = ChatModelEngine(model, parameters=names)
    assert [(await write(engine)).text for _ in range(2)] == ["It is 4."] * 2
    sent = [set(keywords) for _, keywords in model.asked]
    assert sent == [set(names), set(names) - {parameter}, set(names) - {parameter}]


async def test_a_refusal_of_anything_else_is_an_error() -> None:
    class Refuses(Says):
        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            raise bad_request("messages: text content must not be empty", None)

    with pytest.raises(EngineError, match="must not be empty"):
        await write(ChatModelEngine(Refuses(replies=["?"])))


REASONED = [
    # OpenAI's responses API, Anthropic's thinking, and servers that keep it in a field or in marks
    [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2 and 2\nAnswer: 5"}]},
        {"type": "text", "text": "It is 4.\nSo on."},
    ],
    [
        {"type": "thinking", "thinking": "2 and 2\nAnswer: 5", "signature": "abc"},
        {"type": "text", "text": "It is 4.\nSo on."},
    ],
    "<think>2 and 2\nAnswer: 5</think>\n\nIt is 4.\nSo on.",
]


@pytest.mark.parametrize(
    ("content", "provider"), list(zip(REASONED, ["openai", "anthropic", ""], strict=True))
)
async def test_reasoning_is_counted_and_no_part_of_a_thought(content: Any, provider: str) -> None:
    said = AIMessage(content, response_metadata={"model_provider": provider} if provider else {})
    model = Says(replies=[said])
    thought = await write(ChatModelEngine(model))
    assert (thought.text, thought.finish) == ("It is 4.", "step")
    assert thought.tokens >= 8


async def test_reasoning_in_a_field_is_counted() -> None:
    said = AIMessage("It is 4.", additional_kwargs={"reasoning_content": "2 and 2\n" * 10})
    thought = await write(ChatModelEngine(Says(replies=[said])))
    assert (thought.text, thought.tokens) == ("It is 4.", 22)


async def test_nothing_but_reasoning_is_a_clear_error() -> None:
    said = AIMessage(
        "",
        response_metadata={"finish_reason": "length"},
        usage_metadata={"input_tokens": 9, "output_tokens": 16, "total_tokens": 25},
    )
    with pytest.raises(EngineError, match="nothing but reasoning, 16 tokens of it: raise Limits"):
        await write(ChatModelEngine(Says(replies=[said])))


async def test_the_stream_is_closed_where_the_next_step_begins() -> None:
    class Streams(Says):
        told: int = 0

        async def _astream(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: AsyncCallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> AsyncIterator[ChatGenerationChunk]:
            for word in ("It is 4.", "\n", "\n", "So", " on", " and", " on"):
                self.told += 1
                chunk = AIMessageChunk(content=word)
                if self.told == 1:  # the prompt's tokens, before any of the reply's
                    chunk.usage_metadata = UsageMetadata(
                        input_tokens=9, output_tokens=0, total_tokens=9
                    )
                yield ChatGenerationChunk(message=chunk)

    model = Streams(replies=[""])
    thought = await write(ChatModelEngine(model))
    assert thought.text == "It is 4."
    assert thought.tokens == 4
    assert model.told == 4


def test_nodes_of_chat_models_pickle() -> None:
    node = create_tot_node(FakeListChatModel(responses=["I am a bot."]), policy=BestOfN(width=1))
    again = pickle.loads(pickle.dumps(node))  # noqa: S301
    assert again.invoke({"messages": HI})["messages"][0].content == "I am a bot."
