"""What makes the small model reason first: it is shown how, and its template may begin it."""

from __future__ import annotations

from spex_agents.engines.base import Sampling
from spex_agents.engines.prompts import PromptTemplate

SHOTS = tuple(
    (
        f"What is {one} + {other}?",
        f"<think>\nI add {one} and {other}.\n\nThat makes {one + other}.\n</think>\n\n"
        f"It is {one + other}.",
    )
    for one, other in ((3, 4), (2, 7), (5, 1))
)
TEMPLATE = PromptTemplate(system="", examples=SHOTS, delimiter="\n\n")
PARAGRAPHS = Sampling(temperature=0, stop=("\n\n",), logprobs=True)
OPENS = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}"
)
