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
        "What a full buffer turned away before the relay could read it is told apart, and nobody can say whose it was.",
    ),
    Definition(
        "relay_out",
        "Out",
        "datagrams",
        "Of those, what the kernel took to be sent, without the copies that the link made.",
        None,
        "Whether the far end heard it is not known. On this machine, its own buffer's drops are shown beside.",
    ),
    Definition(
        "relay_lost",
        "Lost",
        "datagrams",
        "Of those, what the link or a rule lost, what found the link's queue full, and what our kernel refused.",
    ),
    Definition("relay_held", "Held", "datagrams", "Of those, what the link still holds back."),
    Definition(
        "relay_refused",
        "Refused",
        "datagrams",
        "Of those that went out, how many the far end's machine gave back because nobody listens there.",
        "ip(7), IP_RECVERR",
        "Over a network at least so many: an ICMP error may be lost, or not be sent.",
    ),
    Definition(
        "as_rfc3550",
        "As RFC 3550 would say",
        "datagrams",
        "Expected - received, where a copy counts as received: it hides a loss, and the figure may be negative.",
        "RFC 3550, appendix A.3",
        "tshark and iperf 2 count so.",
    ),
    Definition(
        "as_iperf3",
        "As iperf3 would say",
        "datagrams",
        "A gap in the numbers adds to the losses; whatever is not above the highest number takes one off, never below "
        "0, and is called out of order.",
        "iperf3 3.12, iperf_udp.c",
        "Counted from when a link or a rule is on, of what left the relay.",
    ),
)
