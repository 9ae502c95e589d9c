"""The format of the program's log: text or JSON lines, without repeated lines."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

QUIET_S = 10.0
"""The same message is written at most once in this time."""
_MAX_REMEMBERED = 256

_Key = tuple[str, int, str]


class OnceInAWhile(logging.Filter):
    """Passes each message once per QUIET_S and counts those that it suppresses.

    The same message means the same logger, level and text *before* its arguments are put in: ten thousand clients that
    fail in one way are one line. The count rides on the next one that passes, as `record.held_back`.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic_s = monotonic_s
        self._seen: OrderedDict[_Key, tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """True where `record` may be written."""
        now_s = self._monotonic_s()
        key = (record.name, record.levelno, str(record.msg))
        written_s, held_back = self._seen.get(key, (-QUIET_S, 0))
        if now_s - written_s < QUIET_S:
            self._seen[key] = (written_s, held_back + 1)
            return False
        record.held_back = held_back
        self._seen[key] = (now_s, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return True


class TextFormatter(logging.Formatter):
    """`22:15:01 warning udprism.udp.thread: what happened (17 more like it suppressed)`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is the base class's
        """The line without a traceback."""
        line = super().formatMessage(record).replace(record.levelname, record.levelname.lower(), 1)
        held_back = getattr(record, "held_back", 0)
        return f"{line} ({held_back} more like it suppressed)" if held_back else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message; also held_back and exception, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if held_back := getattr(record, "held_back", 0):
            line["held_back"] = held_back
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)  # in ASCII: escapes of the stream would be none of JSON


def set_up(as_json: bool, stream: TextIO | None = None) -> None:
    """Send every log to `stream` (default: standard error), in place of any handlers that were there."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(OnceInAWhile())
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it announces what the banner has said already
