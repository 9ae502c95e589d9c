"""What the numbers of the server's sessions mean."""

from __future__ import annotations

from typing import Final

from udprism.web.definition import Definition

SESSIONS: Final = (
    Definition("session.age_ms", "Joined", "ms", "Now − the session's first `connect`. Later ones renew it."),
    Definition(
        "session.rate_hz",
        "Rate of a session",
        "datagrams/s",
        "The rate that the server has granted: the requested rate, or less if the limit for the client's address is "
        "lower.",
        "PROTOCOL.md section 5",
        "A plan, not a measurement: skipped ticks are counted separately.",
    ),
    Definition(
        "session.sent",
        "Sent in a session",
        "datagrams",
        "Sequence numbers used in this session, including datagrams that the link or the sender's kernel dropped.",
        None,
        "Also counted on a plain stream, although its datagrams do not carry the numbers.",
    ),
    Definition(
        "session.unsent",
        "Not sent",
        "datagrams",
        "Datagrams of `sent` that never left: dropped by the link or refused by the sender's kernel.",
        None,
        "Later losses cannot be seen from here; the client may report them.",
    ),
    Definition(
        "session.reported",
        "Reported by the client",
        "datagrams",
        "The counts of a client on a measured stream, from its newest REPORT; the report's age is shown beside them.",
        "PROTOCOL.md section 3",
        "The client's own figures, not our measurement. A plain stream has no reports: its loss and delay cannot be "
        "known.",
    ),
    Definition(
        "session.lease_ends_in_s",
        "Ends",
        "s",
        "When the session ends, unless the client sends a `connect`, a response or a REPORT before then.",
        "PROTOCOL.md section 5",
        "On loopback a session lasts until the client closes its port.",
    ),
    Definition(
        "session.responses",
        "Answers",
        None,
        "The client's last responses, each with the colour that it answers and the time that it took.",
        "PROTOCOL.md section 1",
    ),
)
