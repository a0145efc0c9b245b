"""An agent's model call as a search over candidate next messages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Literal, Never
from uuid import uuid4

from anyio.to_thread import run_sync
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import ensure_config

from spex_agents._functions import check_async
from spex_agents.answers.termination import TerminationRule
from spex_agents.answers.votes import winner
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.chat_replies import failure, loop_remedy, remedy_of, status_of
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import EngineError, SettingsError, at_least_one, instance_of
from spex_agents.nodes.calls import Calls
from spex_agents.nodes.drafts import (
    MessageVotes,
    Vote,
    check_drafting,
    drafting,
    first_said,
    whole,
)
from spex_agents.nodes.listening import beating, listener_of, named, tell_ledger
from spex_agents.nodes.messages import (
    Candidates,
    Handler,
    MessageReward,
    OfMessages,
    Said,
    check_tools,
)
from spex_agents.nodes.portal import portal
from spex_agents.nodes.settings import check_own_keywords
from spex_agents.nodes.told import new_id, say
from spex_agents.search.limits import Limits
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.policy import Policy
from spex_agents.search.registry import as_policy
from spex_agents.search.tree import Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.result import marked
from spex_agents.speculation.running.calls import attempt
from spex_agents.speculation.session import Session
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.solving import run_to_end

_TEMPLATE = PromptTemplate(system="", user="{question}", delimiter="\n")


class SpexMiddleware(AgentMiddleware[Any, Any, Any]):
    """Lets an agent consider several next messages, tool calls included, before it takes one.

    Each call of the agent's model becomes a search: candidates are asked for at the same time, the
    reward judges them, and the policy may go on from the best. If all tools that a candidate calls
    are free of side effects, the search looks ahead: it calls them, the reward sees their results,
    and the message after them is a thought of its own. The search calls no other tool. The agent
    calls the tools of the chosen message, as ever.

    Only the chosen message is streamed, checkpointed and returned, as the model sent it: ids of
    tool calls, content blocks, signatures of reasoning. Its ``response_metadata["spex"]`` holds the
    report ``{"tree_sha256", "candidates", "repeated", "dropped", "stopped", "ledger"}``. Candidates
    that say the same count as one, in the report and for the reward. One that says nothing, or
    whose call fails, is dropped. If a tool fails, the model is told, as by its agent.

    Put it before middleware that retries model calls or falls back to another model: that then
    holds for each candidate.

    Policies over whole tries (`Lats`, `Refine`, `AbMcts`) draft a message again, told of the drafts
    on its path: their tool calls, what the tools returned, and what the reward said if it `speaks`.
    They ask with [`MESSAGE_AGAIN`][spex_agents.search.prompts.MESSAGE_AGAIN] unless they are given
    a prompt of yours. Give a `depth` of as many drafts below each other.

    The agent's own prompt is all that other policies ask with: their prompts, cues and lists are
    for text.

    Candidates differ only as far as the model's own sampling lets them: give it a temperature.

    Args:
        policy: What to expand, a policy or the name of one; `Rebase(width=4)` by default: four
            candidates.
        reward: How good a conversation that ends with a candidate is; None to take the candidate
            that was written most often.
        pure: The reward is free of side effects: it may be asked about messages begun early.
        speaks: The reward may return a [`Critique`][spex_agents.search.Critique], whose words later
            tries are shown.
        free_of_side_effects: Names of the tools that may be called to look ahead. Tools that take
            injected arguments cannot.
        ignored_arguments: Arguments of tool calls that do not tell candidates apart in a vote, by
            their names; "all" for all of them.
        depth: Messages looked ahead, the next one included; just that one with policies over whole
            answers (`BestOfN`, `AdaptiveConsistency`).
        termination: When to end before the policy does; None for never. Candidates vote for what
            they say. When a rule ends the search, what there is by then is chosen from.
        speculation: How far to run ahead, little by default: models of agents are mostly paid by
            the token. None for not at all. The chosen message is the same.
        seed: Decides the run, as far as the model takes seeds.
        seed_parameter: The model's keyword for a seed; None sends none.
        max_concurrency: Model calls in flight at most, over all runs of the agent.

    Raises:
        TypeError: There is no such keyword: those of a search over text that are not named here
            have no meaning for messages.
        SettingsError: A number is below 1, there is no such policy, it cannot ask for messages
            (`RstarActions`, several models, a prior), the reward is no async function of messages,
            or `termination` or `speculation` is none. At the first call: `free_of_side_effects`
            names what is no tool that can be called, or two tools have one name.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeMessagesListChatModel
        >>> model = FakeMessagesListChatModel(responses=[AIMessage("4"), AIMessage("5")] * 2)
        >>> agent = create_agent(model, middleware=[SpexMiddleware(policy=Rebase(width=3))])
        >>> agent.invoke({"messages": [("user", "What is 2 + 2?")]})["messages"][-1].content
        '4'
    """

    def __init__(
        self,
        *,
        policy: Policy | str = Rebase(width=4),
        reward: MessageReward | None = None,
        pure: bool = False,
        speaks: bool = False,
        free_of_side_effects: Collection[str] = (),
        ignored_arguments: Collection[str] | Literal["all"] = (),
        depth: int = 1,
        termination: TerminationRule | None = None,
        speculation: Speculation | None = Speculation.paid(),
        seed: int = 0,
        seed_parameter: str | None = None,
        max_concurrency: int = 16,
        **others: Never,
    ) -> None:
        super().__init__()
        check_own_keywords(SpexMiddleware, others)
        at_least_one(depth=depth, max_concurrency=max_concurrency)
        instance_of(TerminationRule, or_none=True, termination=termination)
        instance_of(Speculation, or_none=True, speculation=speculation)
        if isinstance(free_of_side_effects, str):
            raise SettingsError(
                f"free_of_side_effects={free_of_side_effects!r}: must be a collection of names"
            )
        if reward is not None:
            check_async("reward", reward, "messages", returns="float")
        if isinstance(ignored_arguments, str) and ignored_arguments != "all":
            raise SettingsError(
                f"ignored_arguments={ignored_arguments!r}: must be a collection of names, or 'all'"
            )
        check_drafting(given := as_policy(policy))
        self._vote = Vote(
            ignored_arguments if ignored_arguments == "all" else tuple(ignored_arguments)
        )
        self._policy = drafting(given, self._vote)
        self._reward = reward
        self._pure, self._speaks = pure, speaks
        self._free = frozenset(free_of_side_effects)
        ahead = 1 if whole(given) else depth
        self._limits = Limits(depth=ahead, step_tokens=2**31, path_tokens=2**31)
        self._termination = termination
        self._speculation = speculation
        if speculation is not None and speculation.budget is None:
            self._speculation = replace(speculation, budget=Budget(max_concurrency))
        self._seed = seed
        self._seed_parameter = seed_parameter
        self._gate = Gate(max_concurrency)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Search for the next message.

        Raises:
            EngineError: The model failed.
            RewardError: The reward failed, or returned no number in [0, 1].
        """
        return await self._search(request, handler, self._speculation)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """The same for an agent that is invoked synchronously.

        Nothing is begun early then, for a call in a thread cannot be cancelled.
        """

        async def in_thread(request: ModelRequest[Any]) -> ModelResponse[Any]:
            return await run_sync(handler, request)

        return portal().call(self._search, request, in_thread, None)

    async def _search(
        self, request: ModelRequest[Any], handler: Handler, speculation: Speculation | None
    ) -> ModelResponse[Any]:
        check_tools(request.tools, self._free)
        writer = Candidates(request, handler, self._free, self._gate, self._seed_parameter)
        config = SearchConfig(
            engine=writer,
            policy=self._policy,
            reward=OfMessages(
                request.messages,
                writer.said,
                self._reward,
                pure=self._pure,
                speaks=self._speaks,
            ),
            limits=self._limits,
            template=_TEMPLATE,
            extract=lambda text: None,
            vote="majority" if self._reward is None else "best",
            termination=self._termination,
            speculation=speculation,
        )
        asked = str(request.messages[-1].text) if request.messages else ""  # a system prompt alone
        tree = Tree(asked or "?", self._seed)
        inside = ensure_config()
        calls, search = Calls(inside, None), uuid4().hex
        session = calls.context().run(
            Session,
            config,
            tree,
            run=search,
            listener=named(listener_of({}), search, inside, inside=False),
            votes=MessageVotes(config, self._vote, writer.said.failures),
        )
        try:
            async with session, beating(lambda: session):
                await run_to_end(session)
        finally:
            tell_ledger(session)
            await calls.end(session.tree)
        response = await self._elect(session, writer.said)
        chosen = next(message for message in response.result if isinstance(message, AIMessage))
        chosen.response_metadata["spex"] = _report(session, writer.said)
        chosen.id = new_id()  # that of the run that says it
        pieces = AIMessageChunk(**{**chosen.model_dump(), "type": "AIMessageChunk"})
        await say([pieces], ensure_config())
        return response

    async def _elect(self, session: Session, said: Said) -> ModelResponse[Any]:
        """The response that is chosen: the first of its path, or of its try."""
        if (elected := winner(await session.ballots(), session.config.vote)) is not None:
            return said.first(first_said(session.config.policy, session.tree, elected.path))
        if said.failures:
            error = next(iter(said.failures.values()))
            remedy = remedy_of(error) if status_of(error) else loop_remedy(error)
            what = f"none of {len(session.tree)} candidates came to anything"
            raise failure(what, error, remedy) from error
        if session.stopped is not None:
            raise EngineError(f"ended by {session.stopped} before any candidate: raise its limit")
        raise EngineError(f"{self._policy} ended without a finished candidate: raise its width")


def _report(session: Session, said: Said) -> dict[str, Any]:
    tree = session.tree
    told = [
        tuple(thought.text for thought in attempt(session.config.policy, path, tree.chain(path)))
        for path in tree.thoughts
    ]
    standing = [texts for texts in told if texts[-1] not in said.failures]
    return {
        "tree_sha256": marked(tree, timed=session.timed),
        "candidates": len(set(standing)),
        "repeated": len(standing) - len(set(standing)),
        "dropped": len(told) - len(standing),
        "stopped": session.stopped,
        "ledger": session.ledger.report(),
    }
