"""Standard input, output and error, which may be closed, full, cut off, or limited to few letters. None of that is a
defect of this program, a reason to lose a verdict, or a reason to stop serving.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final, TextIO, cast

_LETTERS: Final = "backslashreplace"
"""A letter that the encoding has not (µ in ASCII) is written as its number."""


class Output(io.TextIOWrapper):
    """Standard output or error. Writing to it never raises OSError: what cannot be written is dropped.

    `error` is what went wrong first; a person is told of it once, on standard error, unless it is a reader who has
    seen enough (EPIPE).
    """

    error: OSError | None = None

    def write(self, text: str, /) -> int:
        """As io.TextIOWrapper does."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """As io.TextIOWrapper does."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        descriptor = self.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)  # what waits in the buffers goes there as well
        os.close(nowhere)
        if self.error is None:
            self.error = error
            if self is not sys.stderr and error.errno != errno.EPIPE:
                print(f"udprism: cannot write to standard output: {error.strerror}", file=sys.stderr)


def prepare() -> None:
    """Once, before anything is opened or said: a closed stream's number must not become a socket's or a database's."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if sys.stderr is sys.__stderr__:  # otherwise other code has replaced the stream
        sys.stderr = _output(sys.stderr, 2)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _output(sys.stdout, 1)


def _output(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return cast(TextIO, Output(open(number, "wb", closefd=False), "utf-8", _LETTERS))
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Output):
        return stream
    encoding, by_line, through = stream.encoding, stream.line_buffering, stream.write_through
    return cast(TextIO, Output(stream.detach(), encoding, _LETTERS, line_buffering=by_line, write_through=through))


def lost() -> OSError | None:
    """Why some of standard output was not written; None if all of it was."""
    error: OSError | None = getattr(sys.stdout, "error", None)
    return error


def courtesy(text: str) -> None:
    """Print a line that may be lost: the command does not fail if it cannot be written."""
    before = lost()
    print(text, flush=True)
    if before is None and isinstance(sys.stdout, Output):
        sys.stdout.error = None
