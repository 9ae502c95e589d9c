"""The project's errors: one root, split by whose fault it was.

A class exists only where some line catches it by name.
"""

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "invalid",
    "not-found",
    "no-link",
    "no-datagrams",
    "name-taken",
    "too-many-clients",
    "no-socket",
    "hosted-session",
    "too-many-relays",
    "too-many-receivers",
    "too-many-senders",
    "scenario-runs",
    "cannot-bind",
    "relay-down",
    "target-not-allowed",
    "busy",
    "not-stored",
    "too-many-recordings",
    "too-many-replays",
    "not-whole",
    "whole",
    "unreadable",
    "too-many-viewers",
    "not-kept",
    "no-node",
    "node-unreachable",
    "remote-off",
    "never-done",
    "outcome-unknown",
]
"""Why a request cannot be fulfilled. What HTTP says for each stands in `web/problem`."""


class UdprismError(Exception):
    """Root of every error that udprism raises on purpose."""


class WireError(UdprismError):
    """A datagram's sender broke the wire's rules; `reason` is a short stable word, used as a counter's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RequestError(UdprismError):
    """The request cannot be fulfilled; names the field and the accepted values.

    `kind` is stable, for programs: the last part of the problem's `type`.
    """

    def __init__(self, detail: str, *, field: str | None = None, kind: Kind = "invalid") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.kind = kind


class CaptureError(UdprismError):
    """A capture file breaks its format's rules at `offset` bytes; `reason` is a short stable word."""

    def __init__(self, offset: int, reason: str, detail: str) -> None:
        super().__init__(f"at byte {offset}: {detail}")
        self.offset = offset
        self.reason = reason


class BindError(UdprismError):
    """An address could not be bound; the command line exits with 3."""


class StoreError(UdprismError):
    """Stored data could not be written (disk full, read-only); the change was not made."""


class RelayError(UdprismError):
    """A relay's process did not do what it was asked: it died, hangs or refused. The caller adds which relay."""
