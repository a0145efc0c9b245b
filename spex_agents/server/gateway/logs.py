"""Logs as JSON lines, without what anybody has asked or been told."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from spex_agents.errors import EngineUnavailable

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_OURS = ("spex_agents", "uvicorn")
_NO_PROMPTS = (*_OURS, "psycopg.pool")
"""Whose messages are about connections, or ours."""

_PYTHON = re.compile(r"\b(base_url|api_key|model|patience)=(?=[\s,;.)]|$)")
"""Settings of engines that are told as Python has them, and are options of the gateway."""


class JsonLines(logging.Formatter):
    """A line for each record: time, level, logger, event, and the fields of `extra`.

    What may quote a prompt is left out: of an exception all but its type and its places, and what
    other packages fill into the first line of their messages, or say in further ones. Why an engine
    is away is told: no prompt has to do with it.

    Args:
        prompts: Whether it has all that, and the field `question`, all the same.

    Example:
        >>> record = logging.makeLogRecord({"msg": "ended", "name": "spex", "question": "Why?"})
        >>> "Why" in JsonLines().format(record)
        False
    """

    def __init__(self, *, prompts: bool = False) -> None:
        super().__init__()
        self.prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._event(record),
        }
        if self.prompts or record.name.startswith(_OURS):
            line |= {name: value for name, value in vars(record).items() if name not in _OWN}
            if "said" in line:
                line["said"] = _with_options(str(line["said"]))
        if not self.prompts:
            line.pop("question", None)
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line["error"] = type(error).__name__
            line["at"] = [
                f"{place.filename}:{place.lineno} {place.name}"
                for place in traceback.extract_tb(error.__traceback__)[-8:]
            ]
            if self.prompts or isinstance(error, EngineUnavailable):  # whatever the prompt
                line["message"] = _with_options(str(error))
        return json.dumps(line, default=str)

    def _event(self, record: logging.LogRecord) -> str:
        if self.prompts or record.name.startswith(_OURS):
            return _with_options(_without_places(record.getMessage()))
        said = record.getMessage() if record.name.startswith(_NO_PROMPTS) else str(record.msg)
        return said.partition("\n")[0]


def log_to_stderr(*, prompts: bool) -> None:
    """Send the log of this process to standard error, in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(prompts=prompts))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for each_thought in ("httpx", "httpx2"):  # the second is that of newer openai clients
        logging.getLogger(each_thought).setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # which dialect it speaks


def _with_options(said: str) -> str:
    """What is told of an engine, in the words of the command line.

    Example:
        >>> _with_options("see its log, or raise patience= if it takes longer to restart")
        'see its log, or raise --patience if it takes longer to restart'
    """

    def typed(found: re.Match[str]) -> str:
        return "--engine" if found[1] == "base_url" else f"--{found[1].replace('_', '-')}"

    return _PYTHON.sub(typed, said)


def _without_places(said: str) -> str:
    r"""Of a traceback that ends with an error of ours, as uvicorn tells a failed start, the error.

    Example:
        >>> _without_places("Traceback ...\nspex_agents.errors.SettingsError: database: away\n")
        'database: away'
    """
    kind, _, why = said.rstrip().rpartition("\n")[2].partition(": ")
    ours = said.startswith("Traceback") and kind.startswith("spex_agents.errors.")
    return why if ours else said
