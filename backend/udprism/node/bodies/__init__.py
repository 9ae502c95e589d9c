"""Every JSON body that is sent: its shape, and the one function that makes it.

All fields are always there. None stands for what cannot be known; nothing is invented. Ids and times have their unit in
their name. `tests/node/test_bodies.py` holds what is really sent to these shapes; OpenAPI and the page's types are made
from them.
"""

from udprism.node.bodies.clients import Client, ClientList, ClientsMade, Datagram, Datagrams, Removed
from udprism.node.bodies.colours import Colour
from udprism.node.bodies.flows import Departed, Flow, FlowDatagrams
from udprism.node.bodies.history import Columns, EventBody, HistoryBody
from udprism.node.bodies.ledgers import Anomalies, Causes, Delays, Ledger, Totals, WholeLedger
from udprism.node.bodies.links import Burst, Link, LinkRoom, Links, Profile, Profiles
from udprism.node.bodies.receivers import (
    DatagramField,
    Extremes,
    FrameFacts,
    HeardFlow,
    Picture,
    Receiver,
    ReceiverList,
    WholeDatagram,
)
from udprism.node.bodies.relays import (
    BothWays,
    Buffer,
    FlowLinks,
    Heard,
    LostAsIperf3,
    LostAsRfc3550,
    Rebound,
    RelayBody,
    RelayCauses,
    RelayDatagram,
    RelayDatagrams,
    RelayFlow,
    RelayFlows,
    RelayList,
    RelayRule,
    RelaySums,
)
from udprism.node.bodies.senders import Sender, SenderList
from udprism.node.bodies.sessions import Reported, Response, Session, SessionList, Unsent
from udprism.node.bodies.whole import (
    Attention,
    Check,
    ClientCounts,
    Definition,
    Definitions,
    Ready,
    Schedule,
    ServerThread,
    SessionCounts,
    Status,
)

__all__ = [
    "Anomalies",
    "Attention",
    "BothWays",
    "Buffer",
    "Burst",
    "Causes",
    "Check",
    "Client",
    "ClientCounts",
    "ClientList",
    "ClientsMade",
    "Colour",
    "Columns",
    "Datagram",
    "DatagramField",
    "Datagrams",
    "Definition",
    "Definitions",
    "Delays",
    "Departed",
    "EventBody",
    "Extremes",
    "Flow",
    "FlowDatagrams",
    "FlowLinks",
    "FrameFacts",
    "Heard",
    "HeardFlow",
    "HistoryBody",
    "Ledger",
    "Link",
    "LinkRoom",
    "Links",
    "LostAsIperf3",
    "LostAsRfc3550",
    "Picture",
    "Profile",
    "Profiles",
    "Ready",
    "Rebound",
    "Receiver",
    "ReceiverList",
    "RelayBody",
    "RelayCauses",
    "RelayDatagram",
    "RelayDatagrams",
    "RelayFlow",
    "RelayFlows",
    "RelayList",
    "RelayRule",
    "RelaySums",
    "Removed",
    "Reported",
    "Response",
    "Schedule",
    "Sender",
    "SenderList",
    "ServerThread",
    "Session",
    "SessionCounts",
    "SessionList",
    "Status",
    "Totals",
    "Unsent",
    "WholeDatagram",
    "WholeLedger",
]
