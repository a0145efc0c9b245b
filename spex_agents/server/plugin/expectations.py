"""What the hooks count on in SGLang, as a table that its source is read against.

The same table serves a server that starts (the source that is installed) and a test (the source in
the wheels of other releases). Nothing of SGLang is imported for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ADMISSION = "admission"
ABORT = "abort"
PROMOTION = "promotion"
SEEDS = "seeds"
COUNTERS = "counters"
FEATURES = (ADMISSION, ABORT, PROMOTION, SEEDS, COUNTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One function, or the words of one file, that hooks count on.

    Attributes:
        file: Below ``sglang/srt``.
        gives: The features that are lost without it.
        function: ``Class.method``; empty where only words are expected.
        parameters: Its first ones, by name; further ones must have defaults.
        returns: Its return annotation begins with this.
        words: Attributes and fields that the file must know.
    """

    file: str
    gives: tuple[str, ...]
    function: str = ""
    parameters: tuple[str, ...] = ()
    returns: str = ""
    words: tuple[str, ...] = ()


_SCHEDULER = "managers/scheduler.py"
_BATCH = "managers/schedule_batch.py"

TABLE = (
    Expected(
        file="managers/tokenizer_manager.py",
        gives=(ABORT, PROMOTION),
        function="TokenizerManager.abort_request",
        parameters=("self", "rid", "abort_all"),
        words=("_dispatch_to_scheduler",),
    ),
    Expected(
        file="managers/io_struct.py", gives=(ABORT, PROMOTION), words=("AbortReq", "abort_all")
    ),
    Expected(
        file=_SCHEDULER,
        gives=(ABORT, PROMOTION),
        function="Scheduler.abort_request",
        parameters=("self", "recv_req"),
    ),
    Expected(
        file=_SCHEDULER,
        gives=(ADMISSION, ABORT, PROMOTION),
        function="Scheduler._add_request_to_queue",
        parameters=("self", "req"),
        words=("waiting_queue", "grammar_manager"),
    ),
    Expected(
        file=_SCHEDULER,
        gives=(ABORT, PROMOTION, COUNTERS),
        function="Scheduler.collect_inflight_reqs",
        parameters=("self",),
        words=("chunked_req", "max_running_requests"),
    ),
    Expected(
        file=_SCHEDULER,
        gives=(ADMISSION,),
        function="Scheduler.get_new_batch_prefill",
        parameters=("self", "running_batch"),
        returns="NextBatchPlan",
        words=(
            "chunked_prefill_size", "is_generation", "is_mixed_chunk", "page_size",
            "prefill_delayer", "truncation_align_size",
        ),
    ),
    Expected(
        file=_SCHEDULER,
        gives=(COUNTERS,),
        function="Scheduler._poll_timeout_aborts",
        parameters=("self",),
        words=("local_reqs",),
    ),
    Expected(
        file="managers/schedule_policy.py",
        gives=(ADMISSION,),
        function="SchedulePolicy.shortest_prefill_chunk_limit",
        parameters=("self", "chunked_req", "waiting_queue", "budget", "page_size"),
    ),
    Expected(
        file="mem_cache/common.py",
        gives=(ADMISSION, COUNTERS),
        words=("match_kv_cache", "num_matched_prefix_tokens"),
    ),
    Expected(
        file="runtime_context.py",
        gives=FEATURES,
        words=(
            "attn_tp_rank", "attn_cp_rank", "pp_rank", "get_parallel", "tp_group",
            "attn_tp_group", "attn_cp_group", "attn_dp_enabled", "pp_size",
        ),
    ),
    Expected(
        file=_SCHEDULER,
        gives=(ADMISSION, COUNTERS),
        function="Scheduler.process_batch_result",
        parameters=("self", "batch", "result"),
    ),
    Expected(
        file=_BATCH,
        gives=(ADMISSION,),
        function="ScheduleBatch.release_req",
        parameters=("self", "idx", "remaing_req_count"),
        words=(
            "batch_to_run", "batch_is_full", "forward_iter", "to_finish", "origin_input_ids",
        ),
    ),
    Expected(
        file=_BATCH,
        gives=(ADMISSION,),
        function="ScheduleBatch.filter_batch",
        words=("keep_indices",),
    ),
    Expected(
        file="managers/scheduler_components/internal_state.py",
        gives=(COUNTERS,),
        function="SchedulerInternalStateController.get_internal_state",
        parameters=("self", "recv_req"),
        words=("internal_state", "scheduler"),
    ),
    Expected(
        file="sampling/sampling_batch_info.py",
        gives=(SEEDS,),
        function="SamplingBatchInfo.from_schedule_batch",
        parameters=("cls", "batch", "vocab_size"),
        words=(
            "sampling_seed", "sampling_mask_batch_indices", "max_top_k", "top_ks", "top_ps",
            "min_ps", "need_top_k_sampling", "need_top_p_sampling", "need_min_p_sampling",
            "is_any_greedy", "is_pin_memory_available",
        ),
    ),
    Expected(
        file="sampling/sampling_batch_info.py",
        gives=(SEEDS,),
        function="SamplingBatchInfo.merge_batch",
        parameters=("self", "other"),
    ),
    Expected(
        file="layers/sampler.py",
        gives=(SEEDS,),
        function="Sampler._sample_from_probs",
        parameters=("self", "probs", "sampling_info", "positions", "simple_sampling_case"),
        returns="Tuple[",
        words=("enable_deterministic", "SYNC_TOKEN_IDS_ACROSS_TP"),
    ),
)  # fmt: skip


def faults(source: Callable[[str], str | None]) -> Mapping[str, str]:
    """The features that cannot be had, each with the first reason why.

    Args:
        source: The text of a file below ``sglang/srt``; None if there is no such file.
    """
    found: dict[str, str] = {}
    for expected in TABLE:
        if (fault := _fault(expected, source(expected.file))) is not None:
            for feature in expected.gives:
                found.setdefault(feature, fault)
    return found


def _fault(expected: Expected, text: str | None) -> str | None:
    if text is None:
        return f"{expected.file} is gone"
    for word in expected.words:
        if not re.search(rf"\b{word}\b", text):
            return f"{expected.file} has no {word}"
    if not expected.function:
        return None
    if (function := _find(text, expected.function)) is None:
        return f"{expected.file} has no {expected.function}"
    arguments = [*function.args.posonlyargs, *function.args.args]
    names = tuple(argument.arg for argument in arguments)
    if names[: len(expected.parameters)] != expected.parameters:
        return f"{expected.function} takes {', '.join(names)}"
    further = len(names) - len(expected.parameters)
    keywords = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    wanted = [*names, *(keyword.arg for keyword, default in keywords if default is None)]
    if expected.parameters and (further > len(function.args.defaults) or len(wanted) > len(names)):
        return f"{expected.function} wants {', '.join(wanted)}"
    returns = ast.unparse(function.returns) if function.returns else ""
    if not returns.startswith(expected.returns):
        return f"{expected.function} returns {returns or 'something else'}"
    return None


def _find(text: str, function: str) -> ast.FunctionDef | None:
    owner, _, name = function.partition(".")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == name:
                    return member
    return None
