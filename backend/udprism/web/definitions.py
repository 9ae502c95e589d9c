"""What every number means: one source for the page's question marks and for the API's description."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from udprism.web.definition import Definition
from udprism.web.metric_definitions import METRICS
from udprism.web.relay_definitions import RELAYS

_LEDGER: Final = "the ledger: sent = received + lost + in flight"
_ONE_CLOCK: Final = "Sender and receiver must read one clock; else only differences mean anything."


DEFINITIONS: Final = (
    Definition(
        "clients",
        "Clients",
        None,
        "Clients that this program hosts, whatever their state. Whoever joins with another program is a session of the "
        "server, and is listed there.",
    ),
    Definition(
        "losing",
        "Losing",
        "clients",
        "Clients that lost something in the last ten seconds.",
        None,
        "Clients on plain streams are not among them: what they lose cannot be known.",
    ),
    Definition(
        "behind",
        "Behind",
        "clients",
        "Clients whose sender sent less than nine tenths of the rate asked for, over the last ten seconds.",
        None,
        "Nothing is lost by it: what is never sent has no number. The sender skips ticks of its schedule, most often "
        "because its machine has too much to do. Not told of streams below two datagrams/s, nor of plain ones.",
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
        "Datagrams a second",
        "datagrams/s",
        "What all hosted clients together received, over the last two seconds.",
    ),
    Definition(
        "sent",
        "Sent",
        "datagrams",
        "Sequence numbers that the server has used for this client, those included that the link model or the "
        "sender's kernel kept back.",
        _LEDGER,
        "A server in another process does not tell: then it is the highest sequence number seen, plus one.",
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
        "The ledger of clients that were removed. What was on its way when their sockets closed is lost.",
    ),
    Definition(
        "received_plain",
        "Received on plain streams",
        "datagrams",
        "Arrivals of all clients whose stream has no sequence numbers: beside the sums, which cannot hold them.",
    ),
    Definition(
        "lost",
        "Lost",
        "datagrams",
        "Sequence numbers that did not arrive before a second had passed or 64 later ones had come; the sum of its "
        "causes. Both limits are settings.",
        "RFC 7680 asks for such a limit; ours are in DECISIONS.md",
        "One that arrives after all is taken back, and counts as late.",
    ),
    Definition(
        "in_flight",
        "In flight",
        "datagrams",
        "sent − received − lost: on their way, or missing for too short a time to be called lost.",
        _LEDGER,
    ),
    Definition(
        "late",
        "Late",
        "datagrams",
        "Received after they had been called lost. They are in `received`, and in `lost` no more.",
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
        "Received with bits that the link model flipped, as the server tells.",
        None,
        "Bits that a real network flips are caught by UDP's checksum and show up as loss.",
    ),
    Definition(
        "lost_by_cause.link",
        "Lost: link",
        "datagrams",
        "Dropped by the link model between server and client, or not fitting into its queue.",
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
        "Dropped by the receiving kernel, because the client's socket buffer was full, or its socket closed already.",
        "socket(7): SO_RXQ_OVFL, and the drops column of /proc/net/udp",
        "The kernel counts them, but does not say which: as many holes are put down to it as it counted.",
    ),
    Definition(
        "lost_by_cause.unexplained",
        "Lost: unexplained",
        "datagrams",
        "lost − all other causes. 0 whenever server and client share this process: anything else is a defect.",
    ),
    Definition(
        "lost_by_cause.unknown_path",
        "Lost: unknown path",
        "datagrams",
        "Lost on the way from a server in another process: only the sequence number is known, not who dropped it.",
    ),
    Definition(
        "loss_ratio",
        "Loss",
        "ratio",
        "lost ÷ (received + lost), since the client was made.",
        "RFC 7680",
        "Unknown on a plain stream: without sequence numbers nobody can see what is missing.",
    ),
    Definition(
        "loss_recent",
        "Loss, last 10 s",
        "ratio",
        "lost ÷ (received + lost), of what was decided in the last ten seconds.",
        "RFC 7680",
        "Up to a second behind: a datagram must be missing for that long before it is called lost.",
    ),
    Definition(
        "rate_hz",
        "Rate",
        "datagrams/s",
        "Datagrams received once, over the last two seconds; over 10 s or 2 min if the stream is slow.",
    ),
    Definition(
        "rate_asked_hz",
        "Rate asked for",
        "datagrams/s",
        "What the client asks the server for when it connects; `rate_hz` in its body.",
        None,
        "A server grants at most 20 a second to who is not on its own machine.",
    ),
    Definition(
        "colours",
        "Pixels in a datagram",
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
        "A smoothed mean deviation, not the largest one; duplicates take part. Arrival is the kernel's stamp: our "
        "polling is not in it.",
    ),
    Definition(
        "delay_ms",
        "One-way delay",
        "ms",
        "The receiving kernel's stamp − the sender's stamp. Minimum, median, 95 %, 99 % and maximum, since the "
        "session began or the client's link last changed; percentiles are right within an eighth, the extremes "
        "exactly.",
        "RFC 7679",
        _ONE_CLOCK + " Relative delays count from the smallest one seen.",
    ),
    Definition(
        "rtt_ms",
        "Round-trip time",
        "ms",
        "Arrival of the server's REPORT_ACK − departure of the REPORT that it answers.",
        "RFC 2681; PROTOCOL.md section 3",
        "Includes the time until the server's thread takes the report up.",
    ),
    Definition("age_ms", "Age", "ms", "Now − the last arrival: how old the newest value is."),
    Definition(
        "anomalies.jumps",
        "Jumps",
        "times",
        "How often a sender skipped, or went back by, more numbers than the ledger's window is wide, and went on from "
        "there.",
        "RFC 3550 appendix A.1",
        "A single far number is not believed: it must be followed by one shortly after it.",
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
        "Stamps from the future",
        "datagrams",
        "Arrivals stamped by the sender with a later time than that of their arrival, though both read one clock.",
        None,
        "A clock that was set back meanwhile does this as well.",
    ),
    Definition(
        "schedule.lag_ms",
        "Schedule lag",
        "ms",
        "How much later than planned the server's thread sent what was due: the worst of late, halved every quarter "
        "second.",
        None,
        "A lag is delay at the sender, before the stamp: it is not in the one-way delay.",
    ),
    Definition(
        "schedule.skipped_ticks",
        "Skipped ticks",
        "datagrams",
        "Datagrams that were never made because the server's thread came too late for their turn. They are not in "
        "`sent`.",
    ),
    Definition(
        "relayed",
        "Relayed",
        "datagrams",
        "Received ones whose colour went into a frame as the newest of their client.",
        "received = relayed + conflated + those that wait for the next frame",
        "A page's own count covers what it was shown since it was opened.",
    ),
    Definition(
        "conflated",
        "Conflated",
        "datagrams",
        "Received ones that a newer one of the same client replaced before the next frame was made.",
        "received = relayed + conflated + those that wait for the next frame",
        "Not a loss: more came than a screen can show. The ribbon and the ledger have them all.",
    ),
    Definition("session.age_ms", "Joined", "ms", "Now − the session's first `connect`. Later ones renew it."),
    Definition(
        "session.rate_hz",
        "Rate of a session",
        "datagrams/s",
        "What the server grants and keeps to: the rate that was asked for, or less where the client's address allows "
        "less.",
        "PROTOCOL.md section 5",
        "A plan, not a measurement: ticks that were skipped are counted by themselves.",
    ),
    Definition(
        "session.sent",
        "Sent in a session",
        "datagrams",
        "Sequence numbers used in this session, those included that the link dropped or the sender's kernel refused.",
        None,
        "On a plain stream too, though its datagrams do not carry them.",
    ),
    Definition(
        "session.unsent",
        "Not sent",
        "datagrams",
        "Those of `sent` that never left: dropped by the link, or refused by the sender's kernel.",
        None,
        "What is lost further on, this side cannot see: see what the client reports.",
    ),
    Definition(
        "session.reported",
        "Reported by the client",
        "datagrams",
        "What a client on a measured stream counted at its end, from its newest REPORT; its age is told beside it.",
        "PROTOCOL.md section 3",
        "The client's word, not our measurement. A plain stream brings none: its loss and delay cannot be known.",
    ),
    Definition(
        "session.lease_ends_in_s",
        "Ends",
        "s",
        "When the session ends unless the client is heard before: by a `connect`, a response or a REPORT.",
        "PROTOCOL.md section 5",
        "On loopback a session lasts until its port is closed.",
    ),
    Definition(
        "session.responses",
        "Answers",
        None,
        "The last texts that the client sent, each with the colour that had been sent to it last, and how long after "
        "that.",
        "PROTOCOL.md section 1",
    ),
)


ALL: Final = (*DEFINITIONS, *RELAYS, *METRICS)


def to_body() -> dict[str, Any]:
    """The body of `GET /api/definitions`."""
    return {"definitions": [asdict(definition) for definition in ALL]}


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
