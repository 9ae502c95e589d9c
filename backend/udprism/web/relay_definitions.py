"""What a relay's numbers mean: shown by the page and at /api/definitions, as all others are."""

from __future__ import annotations

from typing import Final

from udprism.web.definition import Definition

RELAYS: Final = (
    Definition(
        "relay_in",
        "In",
        "datagrams",
        "Datagrams that a relay read from its socket, in one direction. in = out + lost + held, at every read.",
        None,
        "Datagrams that a full buffer dropped before the relay could read them are counted separately; their flows are "
        "unknown.",
    ),
    Definition(
        "relay_out",
        "Out",
        "datagrams",
        "Of those, datagrams that the kernel accepted for sending, without the duplicates that the link made.",
        None,
        "Whether the target received them is unknown. If it is on this machine, its buffer's drops are shown as well.",
    ),
    Definition(
        "relay_lost",
        "Lost",
        "datagrams",
        "Of those, datagrams dropped by the link or a rule, by the link's full queue, or by our own kernel.",
    ),
    Definition("relay_held", "Held", "datagrams", "Of those, datagrams that the link is still delaying."),
    Definition(
        "relay_refused",
        "Refused",
        "datagrams",
        "Of those that went out, how many the destination's machine refused because nothing listens there.",
        "ip(7), IP_RECVERR",
        "Over a network this is a minimum: an ICMP error may be lost or not be sent.",
    ),
    Definition(
        "as_rfc3550",
        "As RFC 3550 counts",
        "datagrams",
        "Expected - received, where a duplicate counts as received: it hides a loss, and the figure may be negative.",
        "RFC 3550, appendix A.3",
        "tshark and iperf 2 count this way.",
    ),
    Definition(
        "as_iperf3",
        "As iperf3 counts",
        "datagrams",
        "A gap in the numbers adds to the losses; a datagram not above the highest number subtracts one, never below "
        "0, and is called out of order.",
        "iperf3 3.12, iperf_udp.c",
        "Counted from when a link or a rule is switched on, of datagrams that left the relay.",
    ),
)
