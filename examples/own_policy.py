"""A search policy and a reward of your own: both run ahead of what is known, for free."""

import asyncio
from collections.abc import Sequence

from spex_agents import EmbeddedEngine, Limits, Verifier, create_tot_graph
from spex_agents.search import Decision, Expand, Finish, Path, Policy, TreeView

Pair = tuple[Path, ...]


class Greedy(Policy):
    """Writes two thoughts at a time and goes on from the better one."""

    def decide(self, state: Pair, tree: TreeView) -> tuple[Pair, Decision]:
        path = max(state, key=tree.reward) if state else ()
        if path and tree.thought(path).ends:
            return state, Finish()
        pair = ((*path, 0), (*path, 1))
        return pair, Expand(pair)


async def short_is_good(question: str, steps: Sequence[str]) -> float:
    await asyncio.sleep(1)  # as long as a check may take: the next thoughts begin meanwhile
    return 1 / (1 + len(steps[-1]) / 100)


if __name__ == "__main__":
    reward = Verifier(short_is_good, pure=True)
    limits = Limits(step_tokens=12)  # so small a model writes its answer in one step otherwise
    graph = create_tot_graph(EmbeddedEngine(), policy=Greedy(), reward=reward, limits=limits)
    question = "Tom has 3 apples and buys 4 more. How many apples does he have?"
    result = graph.compile().invoke({"question": question})
    print(result["answer"], result["ledger"]["hits"], "hits")
