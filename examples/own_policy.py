"""A search policy and a reward of your own: both run ahead of what is known, for free."""

import asyncio
from collections.abc import Sequence

from spex_agents import EmbeddedEngine, Verifier, create_tot_graph
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
    graph = create_tot_graph(EmbeddedEngine(), policy=Greedy(), reward=reward).compile()
    result = graph.invoke({"question": "A pen costs 3 dollars. What do 4 pens cost?"})
    print(result["answer"], result["ledger"]["hits"], "hits")
