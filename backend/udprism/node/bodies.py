"""The shape of every JSON body that is sent: the REST API's answers, and what the live feed shows of a client.

All fields are always there. None stands for what cannot be known; nothing is invented. Ids and times have their unit in
their name. `tests/node/test_bodies.py` holds what is really sent to these shapes, and OpenAPI is made from them.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict  # pydantic, which reads them, wants this one before Python 3.12

Count = int | None
Mode = Literal["auto", "measured", "plain"]
Stream = Literal["measured", "plain"]
State = Literal["connecting", "live", "silent", "refused", "error", "paused"]


class Causes(TypedDict):
    """Lost datagrams by cause."""

    link: Count
    sender_kernel: Count
    receiver_kernel: Count
    unexplained: Count
    unknown_path: Count


class Ledger(TypedDict):
    """What became of every datagram: sent = received + lost + in_flight, and lost is the sum of its causes."""

    sent: Count
    received: Count
    lost: Count
    in_flight: Count
    late: Count
    reordered: Count
    duplicates: Count
    corrupt: Count
    lost_by_cause: Causes
    relayed: int
    conflated: int


class Totals(Ledger):
    """A ledger of many clients; what plain streams received stands beside the sums, which cannot hold it."""

    received_plain: int


class WholeLedger(Totals):
    """The ledger of all clients that there are, and beside it that of those that were removed."""

    departed: Totals


class Delays(TypedDict):
    """One-way delays in ms."""

    min: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Anomalies(TypedDict):
    """What no honest sender on a healthy path does, counted."""

    jumps: int
    beyond_window: int
    negative_delays: int


class Colour(TypedDict):
    """A colour by the name that is nearest, and as `#rrggbb`."""

    name: str
    rgb: str


class Burst(TypedDict):
    """Losses that come together: a Gilbert-Elliott chain."""

    enter_ratio: float
    leave_ratio: float
    loss_ratio: float


class Link(TypedDict):
    """What is done to datagrams on their way."""

    loss_ratio: float
    burst: Burst
    delay_ms: float
    jitter_ms: float
    distribution: Literal["uniform", "normal", "pareto"]
    keep_order: bool
    reorder_ratio: float
    duplicate_ratio: float
    corrupt_ratio: float
    corrupt_header: bool
    rate_kbit_s: float | None
    queue_datagrams: int
    blackout: bool
    seed: int


class Client(TypedDict):
    """A hosted client. `rate_hz` is what it asks for, `measured_rate_hz` what came."""

    id: str
    slot: int
    name: str
    target: str
    target_address: str | None
    mode: Mode
    stream: Stream | None
    state: State
    error: str | None
    paused: bool
    rate_hz: float
    measured_rate_hz: float
    colours: int
    local_address: str | None
    session_id: str | None
    ledger: Ledger
    path: Literal["in-process", "unknown"] | None
    loss_ratio: float | None
    jitter_ms: float | None
    delay_ms: Delays
    anomalies: Anomalies | None
    delay_is_relative: bool | None
    rtt_ms: float | None
    last_colour: Colour | None
    age_ms: float | None
    link: Link | None


class ClientList(TypedDict):
    """One page of clients, and how many match."""

    clients: list[Client]
    total: int


class ClientsMade(TypedDict):
    """The clients that were added."""

    clients: list[Client]


class Removed(TypedDict):
    """How many there were."""

    removed: int


class Datagram(TypedDict):
    """One datagram of a client's history. What never came has no colour, no time and no size."""

    sequence: int | None
    fate: Literal["received", "lost", "late", "in_flight"]
    cause: Literal["link", "sender_kernel", "receiver_kernel", "unexplained", "unknown_path"] | None
    colour: str | None
    rgb: str | None
    sent_at_ns: int | None
    received_at_ns: int | None
    delay_ms: float | None
    duplicates: int | None
    reordered: bool | None
    corrupt: bool | None
    size_bytes: int | None
    payload_hex: str | None


class Datagrams(TypedDict):
    """A client's last datagrams, newest last."""

    datagrams: list[Datagram]


class Unsent(TypedDict):
    """Datagrams of a session that never left."""

    link: int
    sender_kernel: int


class Response(TypedDict):
    """A text that a client sent, and the colour that had been sent to it last."""

    text: str
    colour: str | None
    answered_after_ms: float
    unix_ms: int


class Reported(TypedDict):
    """What a client on a measured stream counted at its end, from its newest REPORT."""

    highest: int
    received: int
    lost: int
    reordered: int
    duplicates: int
    late: int
    jitter_ms: float
    age_ms: int


class Session(TypedDict):
    """Whom the colour server serves. `client_id` is that of a hosted client."""

    id: str
    address: str
    kind: Literal["raw", "hosted"]
    client_id: str | None
    stream: Stream
    name: str | None
    rate_hz: float
    colours: int
    palette: Literal["basic", "css", "rgb"]
    source: str
    started_unix_ms: int
    age_ms: int
    sent: int
    unsent: Unsent
    lease_ends_in_s: float | None
    port_unreachable: int
    responses: list[Response]
    reported: Reported | None
    link: Link | None
    last_colour: str | None


class SessionList(TypedDict):
    """Sessions, raw ones first, and how many match."""

    sessions: list[Session]
    total: int


class LinkRoom(TypedDict):
    """How many delayed datagrams there is room for, how many the links need, hold, and had to turn away."""

    datagrams: int
    needed: int
    held: int
    turned_away: int


class Links(TypedDict):
    """Whether there is a default link that is on, how many have one of their own, and since when any is on."""

    default: bool
    clients: int
    sessions: int
    since_unix_ms: int | None
    room: LinkRoom


class Profile(TypedDict):
    """A link with a name."""

    id: str
    name: str
    models: str
    source: str
    link: Link


class Profiles(TypedDict):
    """All of them."""

    profiles: list[Profile]


class Definition(TypedDict):
    """What a number means."""

    id: str
    name: str
    unit: str | None
    formula: str
    source: str | None
    caveat: str | None


class Definitions(TypedDict):
    """All of them."""

    definitions: list[Definition]


class Check(TypedDict):
    """Whether a part works; if a fatal one does not, the program is not ready."""

    name: str
    ok: bool
    detail: str
    fatal: bool


class Ready(TypedDict):
    """Whether every check that is fatal is well."""

    ready: bool
    checks: list[Check]


class RelayCauses(TypedDict):
    """Datagrams that a relay did not forward, by cause."""

    link: int
    queue: int
    kernel: int


class LostAsRfc3550(TypedDict):
    """What RTP's receiver report would count as lost."""

    lost: int


class LostAsIperf3(TypedDict):
    """What iperf3 would count."""

    lost: int
    out_of_order: int


RelaySums = TypedDict(
    "RelaySums",
    {
        "in": int,
        "out": int,
        "lost": int,
        "held": int,
        "duplicated": int,
        "corrupted": int,
        "refused": int,
        "bytes_in": int,
        "bytes_out": int,
        "lost_by_cause": RelayCauses,
        "as_rfc3550": LostAsRfc3550,
        "as_iperf3": LostAsIperf3,
    },
)
RelaySums.__doc__ = "One way of a relay: in = out + lost + held. Copies that the link made are not in `out`."


class BothWays(TypedDict):
    """A relay's sums: up is from the clients to the target."""

    up: RelaySums
    down: RelaySums


class RelayRule(TypedDict):
    """What is done to chosen datagrams, and how often it was."""

    action: Literal["drop", "duplicate", "hold"]
    direction: Literal["up", "down", "both"]
    nth: int | None
    every: int | None
    offset: int
    mask: str | None
    value: str | None
    ratio: float
    seed: int
    hold_ms: float
    hits: int | None


class Buffer(TypedDict):
    """A socket's receive buffer on this machine, as the kernel shows it."""

    queue_bytes: int
    drops: int


class RelayBody(TypedDict):
    """A relay: it carries datagrams between `listen` and `target`, each way through a link."""

    id: str
    name: str
    listen: str
    target: str
    up: Link
    down: Link
    idle_s: float
    max_flows: int
    any_port: bool
    keep_ttl: bool
    dont_fragment: bool
    keep_payload: bool
    allow_from: list[str]
    state: Literal["live", "error"]
    error: str | None
    flows: int
    ledger: BothWays | None
    rules: list[RelayRule]
    counts: dict[str, int] | None
    receives_by: str | None
    own_buffer_drops: int | None
    target_buffer: Buffer | None


class RelayList(TypedDict):
    """All relays, in the order in which they were begun."""

    relays: list[RelayBody]
    total: int


class Heard(TypedDict):
    """How long ago each side was heard, in ms."""

    up: float | None
    down: float | None


class FlowLinks(TypedDict):
    """A relayed flow's own links; null if the relay's holds."""

    up: Link | None
    down: Link | None


class RelayFlow(TypedDict):
    """One client of a relay."""

    id: str
    relay_id: str
    ordinal: int
    client_address: str
    local_address: str
    target_address: str
    state: str
    proven: bool
    age_ms: float
    heard_ms_ago: Heard
    up: RelaySums
    down: RelaySums
    links: FlowLinks
    client_buffer: Buffer | None


class RelayFlows(TypedDict):
    """One page of a relay's flows, and how many match."""

    flows: list[RelayFlow]
    total: int


class RelayDatagram(TypedDict):
    """One datagram of a relayed flow, on one way."""

    number: int
    fate: str
    cause: str | None
    received_at_ns: int
    delay_ms: float
    size_bytes: int
    duplicated: bool
    corrupted: bool
    refused: bool
    payload_hex: str


class RelayDatagrams(TypedDict):
    """The last ones, newest last."""

    datagrams: list[RelayDatagram]


class Rebound(TypedDict):
    """How many flows have a new port towards the target."""

    rebound: int


class Departed(TypedDict):
    """What became of datagrams that were in our hands: offered = lost + passed_on."""

    offered: int
    passed_on: int
    lost: int
    lost_by_cause: Unsent


Flow = TypedDict(
    "Flow",
    {
        "id": str,
        "kind": Literal["client", "session", "relay", "sender"],
        "name": str | None,
        "format": Literal["measured", "plain", "opaque", "ddp", "wled", "artnet", "e131", "rtp", "text"] | None,
        "direction": Literal["in", "out", "up", "down"],
        "from": str,
        "to": str | None,
        "state": State | Literal["one_way", "both"],
        "numbering": Literal["own"] | None,
        "ledger": Ledger | Departed | RelaySums,
        "rate_hz": float | None,
        "loss_ratio": float | None,
        "jitter_ms": float | None,
        "delay_ms": Delays | None,
        "age_ms": float | None,
        "last_colour": Colour | None,
    },
)
Flow.__doc__ = "One direction of datagrams. What its ledger has depends on its kind."


class FlowDatagrams(TypedDict):
    """A flow's last datagrams, newest last; those that a relay carries are not read."""

    datagrams: list[Datagram] | list[RelayDatagram]
