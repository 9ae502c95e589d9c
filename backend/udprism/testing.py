"""A lossy UDP path for tests, between a program and its peer. Needs no server and no privileges.

    with UdpRelay(to=("127.0.0.1", 5000), up=Link(loss_ratio=0.05, seed=7), down=Link(delay_ms=20)) as relay:
        client.connect(relay.address)
        ...
        assert relay.flows[0].up.lost_by_cause == {"link": 12}

Also `async with`, and as the pytest fixture `udp_relay`. The same seed and the same datagrams in the same order lose
the same ones, whatever the timing. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from udprism.columns.types import Address
from udprism.errors import RelayError
from udprism.link.link import Burst, Link
from udprism.link.rules import Rule
from udprism.relay.memory import CAUSE_SHIFT, DOWN, UP, Fate, Flag, Snapshot, State, Sum
from udprism.relay.plan import DEFAULT_IDLE_S, DEFAULT_MAX_FLOWS, Plan
from udprism.relay.relay import Relay, client_address, rows_in_use
from udprism.relay.sums import Sums, sums_of, total_of

__all__ = ["Burst", "Datagram", "Flow", "Link", "Rule", "Sums", "UdpRelay"]
_DIRECTIONS = {"up": UP, "down": DOWN}


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram of a flow. number: from 0, in the order in which the relay read them.

    fate: `forwarded`, `lost` or `held`; cause: of a loss, `link`, `queue` or `kernel`. delay_ms: how long the link was
    to hold it, or how long it took us. refused: the destination's machine refused it. data: its first 24 bytes at most.
    """

    number: int
    fate: str
    cause: str | None
    size_bytes: int
    delay_ms: float
    duplicated: bool
    corrupted: bool
    refused: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Flow:
    """One client's conversation. ordinal: from 0, in the order in which clients appeared.

    local_port: ours, towards the target. state: `one_way`, `both` or `refused`.
    """

    ordinal: int
    client: Address
    local_port: int
    state: str
    up: Sums
    down: Sums


class UdpRelay:
    """A relay to `to`, from the start of the `with` block to its end; its figures stay readable afterwards.

    listen: port 0 for any. up, down: what happens on the way to the target and back. rules: for chosen datagrams.
    name: with the seed, what the link's chances are drawn from. Everything else as in `udprism relay`.
    """

    def __init__(
        self,
        to: Address,
        *,
        listen: Address = ("127.0.0.1", 0),
        up: Link | None = None,
        down: Link | None = None,
        rules: Sequence[Rule] = (),
        name: str = "relay",
        idle_s: float = DEFAULT_IDLE_S,
        max_flows: int = DEFAULT_MAX_FLOWS,
        any_port: bool = False,
        keep_ttl: bool = False,
        dont_fragment: bool = False,
        allow_from: Sequence[str] = (),
    ) -> None:
        self._plan = Plan(
            name=name,
            listen=listen,
            target=to,
            up=_checked(up),
            down=_checked(down),
            rules=tuple(Rule.from_body(rule.to_body()) for rule in rules),
            idle_s=idle_s,
            max_flows=max_flows,
            any_port=any_port,
            keep_ttl=keep_ttl,
            dont_fragment=dont_fragment,
            allow_from=tuple(allow_from),
        ).checked()
        self._relay: Relay | None = None

    def __enter__(self) -> UdpRelay:
        self._relay = Relay(self._plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    async def __aenter__(self) -> UdpRelay:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._started.close)

    @property
    def address(self) -> Address:
        """Where clients send to."""
        return self._started.address

    @property
    def flows(self) -> list[Flow]:
        """The clients, in the order in which they appeared. All that a client or the target has received is counted."""
        snapshot = self._snapshot()
        return [_flow(snapshot, row) for row in rows_in_use(snapshot)]

    @property
    def up(self) -> Sums:
        """All clients' datagrams towards the target, including those of ended flows."""
        return total_of(self._snapshot(), UP)

    @property
    def down(self) -> Sums:
        """All of the target's datagrams towards clients."""
        return total_of(self._snapshot(), DOWN)

    @property
    def rule_hits(self) -> list[int]:
        """How many datagrams each rule chose."""
        hits: list[int] = self._snapshot().rule_hits[: len(self._started.plan.rules)].tolist()
        return hits

    def datagrams(self, ordinal: int = 0, direction: str = "up") -> list[Datagram]:
        """The last 256 datagrams of one flow's direction, oldest first."""
        snapshot = self._snapshot()
        rows = {int(snapshot.flows["ordinal"][row]): row for row in rows_in_use(snapshot)}
        return [_datagram(record) for record in self._started.records(rows[ordinal], _DIRECTIONS[direction])]

    def set_link(self, direction: str, link: Link, ordinal: int | None = None) -> None:
        """Another link from the next datagram on, for all flows or for one. direction: `up` or `down`."""
        self._started.set_link(_DIRECTIONS[direction], _checked(link), ordinal)

    def set_rules(self, *rules: Rule) -> None:
        """Other rules from the next datagram on. Their counts start at zero."""
        self._started.set_rules(tuple(Rule.from_body(rule.to_body()) for rule in rules))

    def rebind(self, ordinal: int | None = None) -> int:
        """Change the source ports towards the target, as a NAT does after it forgot a mapping. Returns how many."""
        return self._started.rebind(ordinal)

    @property
    def _started(self) -> Relay:
        if self._relay is None:
            raise RuntimeError("the relay is not started: use it in a with block")
        return self._relay

    def _snapshot(self) -> Snapshot:
        with contextlib.suppress(RelayError):  # closed: then it is settled
            self._started.settle()
        return self._started.read()


def _checked(link: Link | None) -> Link:
    return Link() if link is None else Link.from_body(link.to_body())


def _flow(snapshot: Snapshot, row: int) -> Flow:
    flow = snapshot.flows[row]
    return Flow(
        ordinal=int(flow["ordinal"]),
        client=client_address(flow),
        local_port=int(flow["local_port"]),
        state=State(int(flow["state"])).name.lower(),
        up=sums_of(snapshot, row, UP),
        down=sums_of(snapshot, row, DOWN),
    )


def _datagram(record: Any) -> Datagram:
    flags, size_bytes = int(record["flags"]), int(record["size_bytes"])
    cause = flags >> CAUSE_SHIFT
    return Datagram(
        number=int(record["number"]),
        fate=Fate(int(record["fate"])).name.lower(),
        cause=Sum(cause).name.lower() if cause else None,
        size_bytes=size_bytes,
        delay_ms=int(record["delay_us"]) / 1000,
        duplicated=bool(flags & Flag.DUPLICATED),
        corrupted=bool(flags & Flag.CORRUPTED),
        refused=bool(flags & Flag.REFUSED),
        data=record["payload"].tobytes()[:size_bytes],
    )
