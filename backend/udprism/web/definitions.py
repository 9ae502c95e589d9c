"""What every number means: the only source for the page's explanations and for the API's description."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from udprism.node.bodies.links import link_fields_body
from udprism.web.definition import Definition
from udprism.web.metric_definitions import METRICS
from udprism.web.relay_definitions import RELAYS
from udprism.web.session_definitions import SESSIONS

_LEDGER: Final = "the ledger: sent = received + lost + in flight"
_ONE_CLOCK: Final = "Sender and receiver must share a clock; otherwise only differences are meaningful."


DEFINITIONS: Final = (
    Definition(
        "clients",
        "Clients",
        None,
        "Clients that this program hosts, in any state. Other programs that join are sessions of the server and are "
        "listed there.",
    ),
    Definition(
        "losing",
        "Losing",
        "clients",
        "Clients that lost something in the last ten seconds.",
        None,
        "Clients on plain streams are not included: their losses cannot be known.",
    ),
    Definition(
        "behind",
        "Behind",
        "clients",
        "Clients whose sender sent less than nine tenths of the rate asked for, over the last ten seconds.",
        None,
        "This is not loss: a datagram that is never sent has no number. The sender skips ticks of its schedule, "
        "usually because its machine is overloaded. Not known for streams below two datagrams/s, nor for plain ones.",
    ),
    Definition(
        "silent",
        "Silent",
        "clients",
        "Clients that are silent (nothing came for two seconds or three of their periods, whichever is longer), "
        "refused or in error.",
        None,
        "The two seconds are a setting.",
    ),
    Definition(
        "datagrams_per_s",
        "Datagrams per second",
        "datagrams/s",
        "Datagrams that all hosted clients together received, over the last two seconds.",
    ),
    Definition(
        "sent",
        "Sent",
        "datagrams",
        "Sequence numbers that the server has used for this client, including datagrams that the link or the sender's "
        "kernel dropped.",
        _LEDGER,
        "A server in another process does not report it. Then it is the highest sequence number seen, plus one.",
    ),
    Definition(
        "received",
        "Received",
        "datagrams",
        "Sequence numbers that arrived, each counted once, late ones included.",
        _LEDGER,
        "On a plain stream, which has no sequence numbers, every datagram counts.",
    ),
    Definition(
        "departed",
        "Departed",
        "datagrams",
        "The ledger of removed clients. Datagrams that were on their way when the sockets closed count as lost.",
    ),
    Definition(
        "received_plain",
        "Received on plain streams",
        "datagrams",
        "Arrivals of all clients whose stream has no sequence numbers. They are not part of the sums.",
    ),
    Definition(
        "lost",
        "Lost",
        "datagrams",
        "Sequence numbers that did not arrive before a second had passed or 64 later ones had arrived; the sum of all "
        "causes. Both limits are settings.",
        "RFC 7680 asks for such a limit; ours are in DECISIONS.md",
        "A datagram that still arrives is no longer lost; it counts as late.",
    ),
    Definition(
        "in_flight",
        "In flight",
        "datagrams",
        "sent − received − lost: on their way, or not missing for long enough to count as lost.",
        _LEDGER,
    ),
    Definition(
        "late",
        "Late",
        "datagrams",
        "Received after they had counted as lost. They are in `received` and no longer in `lost`.",
        _LEDGER,
    ),
    Definition(
        "reordered",
        "Reordered",
        "datagrams",
        "Received after one with a higher sequence number.",
        "RFC 4737 section 3.3; sequence numbers are compared by RFC 1982",
    ),
    Definition(
        "duplicates",
        "Duplicates",
        "datagrams",
        "Arrivals of a sequence number that had arrived before. They are not in `received`.",
        "RFC 5560",
    ),
    Definition(
        "corrupt",
        "Corrupt",
        "datagrams",
        "Received with bits that the link flipped, as reported by the server.",
        None,
        "UDP's checksum catches bits that a real network flips; such datagrams show up as loss.",
    ),
    Definition(
        "lost_by_cause.link",
        "Lost: link",
        "datagrams",
        "Dropped by the link between server and client, by chance or because its queue was full.",
    ),
    Definition(
        "lost_by_cause.sender_kernel",
        "Lost: sender's kernel",
        "datagrams",
        "Refused by the sending kernel, whose buffers were full.",
        "send(2): EAGAIN, ENOBUFS",
    ),
    Definition(
        "lost_by_cause.receiver_kernel",
        "Lost: receiver's kernel",
        "datagrams",
        "Dropped by the receiving kernel, because the client's socket buffer was full or its socket was already "
        "closed.",
        "socket(7): SO_RXQ_OVFL, and the drops column of /proc/net/udp",
        "The kernel counts drops but does not identify them: that many missing numbers are attributed to it.",
    ),
    Definition(
        "lost_by_cause.unexplained",
        "Lost: unexplained",
        "datagrams",
        "lost − all other causes. 0 if server and client share this process: any other value is a defect.",
    ),
    Definition(
        "lost_by_cause.unknown_path",
        "Lost: unknown path",
        "datagrams",
        "Lost on the way from a server in another process: only the sequence number is known, not where it was "
        "dropped.",
    ),
    Definition(
        "lost_by_cause.path",
        "Lost: path",
        "datagrams",
        "Lost between two machines: the server's node says that it left its kernel, and the kernel here did not drop "
        "it.",
    ),
    Definition(
        "lost_by_cause.awaiting",
        "Lost: awaiting report",
        "datagrams",
        "Lost from another node's server, and that node has not reported yet what it sent. The cause will be known "
        "once that node can be reached.",
    ),
    Definition(
        "loss_ratio",
        "Loss",
        "ratio",
        "lost ÷ (received + lost), since the client was added.",
        "RFC 7680",
        "Unknown on a plain stream: without sequence numbers, missing datagrams cannot be seen.",
    ),
    Definition(
        "loss_recent",
        "Loss, last 10 s",
        "ratio",
        "lost ÷ (received + lost), of the datagrams whose fate was decided in the last ten seconds.",
        "RFC 7680",
        "Up to a second behind: a datagram must be missing for that long before it counts as lost.",
    ),
    Definition(
        "rate_hz",
        "Rate",
        "datagrams/s",
        "Datagrams received once, over the last two seconds; over 10 s or 2 min if the stream is slow.",
    ),
    Definition(
        "rate_asked_hz",
        "Requested rate",
        "datagrams/s",
        "The rate that the client requests when it connects; `rate_hz` in its body.",
        None,
        "A server grants at most 20 datagrams/s to clients on other machines.",
    ),
    Definition(
        "colours",
        "Pixels per datagram",
        "pixels",
        "Colours that each datagram carries; on a measured stream it has 20 + 3 × pixels bytes.",
        "PROTOCOL.md",
        "Tiles and lanes show the first of them.",
    ),
    Definition(
        "jitter_ms",
        "Interarrival jitter",
        "ms",
        "J ← J + (|D| − J) ÷ 16, where D is the difference between the spacing of two datagrams at the receiver and at "
        "the sender.",
        "RFC 3550 section 6.4.1 and appendix A.8",
        "A smoothed mean deviation, not the largest one; duplicates are included. Arrival is the kernel's timestamp, "
        "so our polling does not add to it.",
    ),
    Definition(
        "delay_ms",
        "One-way delay",
        "ms",
        "The receiving kernel's timestamp − the sender's. Minimum, median, 95 %, 99 % and maximum, since the "
        "session began or the client's link last changed; percentiles are accurate to one eighth, minimum and "
        "maximum are exact.",
        "RFC 7679",
        _ONE_CLOCK + " Relative delays count from the smallest one seen.",
    ),
    Definition(
        "rtt_ms",
        "Round-trip time",
        "ms",
        "Arrival of the server's REPORT_ACK − departure of the REPORT that it answers.",
        "RFC 2681; PROTOCOL.md section 3",
        "Includes the time until the server's thread reads the report.",
    ),
    Definition("age_ms", "Age", "ms", "Now − the last arrival: the age of the newest value."),
    Definition(
        "anomalies.jumps",
        "Jumps",
        "times",
        "How often a sender skipped forward or back by more numbers than the ledger's window holds, and continued from "
        "there.",
        "RFC 3550 appendix A.1",
        "A single distant number is ignored until the next datagram continues from it.",
    ),
    Definition(
        "anomalies.beyond_window",
        "Beyond the window",
        "datagrams",
        "Arrivals whose number is too far from the highest one to tell late from duplicate. They are not in "
        "`received`.",
        "RFC 3550 appendix A.1",
    ),
    Definition(
        "anomalies.negative_delays",
        "Negative delays",
        "datagrams",
        "Datagrams whose send time is later than their arrival, although both ends share a clock.",
        None,
        "Setting the clock back in between has the same effect.",
    ),
    Definition(
        "schedule.lag_ms",
        "Schedule lag",
        "ms",
        "How much later than planned the server's thread sent what was due: the recent maximum, halved every quarter "
        "second.",
        None,
        "This delay arises at the sender before the timestamp, so the one-way delay does not include it.",
    ),
    Definition(
        "schedule.skipped_ticks",
        "Skipped ticks",
        "datagrams",
        "Datagrams that were never created because the server's thread was too late for them. They are not in `sent`.",
    ),
    Definition(
        "relayed",
        "Relayed",
        "datagrams",
        "Received datagrams whose colour went into a frame as the newest of their client.",
        "received = relayed + conflated + waiting for the next frame",
        "A page's own count starts when the page is opened.",
    ),
    Definition(
        "conflated",
        "Conflated",
        "datagrams",
        "Received datagrams that a newer one of the same client replaced before the next frame was created.",
        "received = relayed + conflated + waiting for the next frame",
        "Not a loss: more arrived than a screen can show. The ribbon and the ledger include them all.",
    ),
)


ALL: Final = (*DEFINITIONS, *SESSIONS, *RELAYS, *METRICS)


def to_body() -> dict[str, Any]:
    """The body of `GET /api/definitions`."""
    return {"definitions": [asdict(definition) for definition in ALL], "link": link_fields_body()}


def to_markdown() -> str:
    """All of them for the API's description."""
    lines = [
        "Errors are problem details (RFC 9457). A number that cannot be known is null. What each number means:",
        "",
    ]
    for one in ALL:
        unit = f" ({one.unit})" if one.unit else ""
        notes = " ".join(text for text in (one.formula, one.caveat, one.source and f"[{one.source}]") if text)
        lines.append(f"- `{one.id}`{unit}: {notes}")
    return "\n".join(lines)
