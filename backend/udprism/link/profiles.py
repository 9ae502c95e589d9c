"""Named links: what each models, and where its figures come from.

Each acts on one direction, from the server to the client. If a source gives a range, the figure is a round
one inside it; if `source` says "ours", it was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from udprism.link.link import Burst, Link


@dataclass(frozen=True, slots=True)
class Profile:
    """A named link. `models` and `source` are one sentence each, shown to people."""

    id: str
    name: str
    models: str
    source: str
    link: Link


PROFILES = (
    Profile(
        "perfect",
        "Perfect",
        "A cable between two idle machines: nothing is lost, delayed or reordered.",
        "By definition.",
        Link(),
    ),
    Profile(
        "home-wifi",
        "Home Wi-Fi",
        "One room from the access point in the evening: a few milliseconds with a long tail, hardly any loss.",
        "Sui et al., Characterizing and Improving WiFi Latency (MobiSys 2016): half within 3 ms, 90 % within 20 ms; "
        "the loss, which is what retransmission leaves over, is ours.",
        Link(loss_ratio=0.002, delay_ms=5, jitter_ms=6, distribution="pareto", keep_order=True),
    ),
    Profile(
        "conference-wifi",
        "Busy conference Wi-Fi",
        "A hall full of laptops on one channel: collisions and retries make long tails, and losses come in clumps.",
        "Pei et al., WiFi can be the weakest link (2016): half of the packets take over 20 ms and a tenth over 100 ms; "
        "clumps of three and 3 % loss are ours.",
        Link(
            burst=Burst(enter_ratio=0.01, leave_ratio=0.33),
            delay_ms=45,
            jitter_ms=60,
            distribution="pareto",
            keep_order=True,
        ),
    ),
    Profile(
        "4g-train",
        "4G on a train",
        "A phone that changes cells at speed: good for a while, then nothing for about ten datagrams.",
        "Baltrunas et al., Investigating Packet Loss in Mobile Broadband Networks under Mobility (IFIP Networking "
        "2016): most loss falls into changes of technology and gaps in service; the figures are ours.",
        Link(
            loss_ratio=0.003,
            burst=Burst(enter_ratio=0.002, leave_ratio=0.1),
            delay_ms=50,
            jitter_ms=20,
            distribution="pareto",
            keep_order=True,
        ),
    ),
    Profile(
        "geo-satellite",
        "Geostationary satellite",
        "One hop over a satellite 35,786 km up: long, steady, nearly without loss.",
        "Geometry: 2 x 35,786 km to 2 x 41,679 km at the speed of light is 239 to 278 ms, and ITU-T G.114 plans with "
        "260 ms; jitter and loss are ours.",
        Link(loss_ratio=0.001, delay_ms=260, jitter_ms=5, distribution="normal", keep_order=True),
    ),
    Profile(
        "bad-dsl",
        "Bad DSL",
        "A long copper line with interleaving, a slow rate, and clicks that wipe out a few datagrams at once.",
        "Interleaving of 8 or 16 ms is what providers offer (line profiles of TalkTalk Wholesale); rate, queue and "
        "bursts are ours.",
        Link(
            burst=Burst(enter_ratio=0.005, leave_ratio=0.4),
            delay_ms=30,
            jitter_ms=3,
            distribution="normal",
            keep_order=True,
            rate_kbit_s=1024,
            queue_datagrams=50,
        ),
    ),
    Profile(
        "bufferbloat",
        "Bufferbloat",
        "A bottleneck with a queue far too long: a stream of ten one-pixel datagrams a second overfills it slowly, "
        "delay climbs to 2.7 s, and only then does loss begin.",
        "Gettys, Bufferbloat (2010), for delays of seconds in consumer uplinks; the rate is ours, set just below the "
        "default stream's 4 kbit/s.",
        Link(delay_ms=20, rate_kbit_s=3, queue_datagrams=20),
    ),
    Profile(
        "loss-2-percent",
        "2 % loss",
        "Every fiftieth datagram is lost, each independently of the others.",
        "By definition.",
        Link(loss_ratio=0.02),
    ),
    Profile(
        "one-second-outages",
        "One-second outages",
        "At ten datagrams per second: about every half minute nothing arrives for a second on average.",
        "By definition: bursts of ten datagrams on average, entered once in 300; at other rates they last "
        "proportionally longer or shorter.",
        Link(burst=Burst(enter_ratio=1 / 300, leave_ratio=0.1)),
    ),
    Profile(
        "everything",
        "A little of everything",
        "Loss, jitter, reordering, duplicates and corrupted bits together, to see every fate on one page.",
        "Ours; no network is like that.",
        Link(
            loss_ratio=0.03,
            delay_ms=60,
            jitter_ms=10,
            reorder_ratio=0.05,
            duplicate_ratio=0.03,
            corrupt_ratio=0.03,
        ),
    ),
)
"""In the order in which they are shown."""


def profile_of(profile_id: str) -> Profile | None:
    """The profile with this id; None if there is none."""
    return next((profile for profile in PROFILES if profile.id == profile_id), None)
