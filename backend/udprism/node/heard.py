"""The flows that receivers hear, one by one and in pages. Asked from an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from udprism.errors import RequestError
from udprism.ledger.heard import HeardFlows
from udprism.ledger.timeline import Steps
from udprism.node.bodies import receivers as bodies
from udprism.node.receivers import Receivers
from udprism.udp.clock import SystemClock
from udprism.udp.listening import FLOW, Listening

T = TypeVar("T")
_CLOCK: Final = SystemClock()


class HeardByReceivers:
    """Read only, except for the pictures that are kept up to date while they are viewed."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers

    def has(self, flow_id: str) -> bool:
        """Whether this is the id of such a flow, which may be gone."""
        return flow_id.startswith(FLOW)

    async def page(
        self, form: str | None, query: str | None, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        """One page in the order of their beginning, and how many match."""
        words = (query or "").lower().split()

        def read(listening: Listening) -> tuple[list[dict[str, Any]], int]:
            flows = listening.flows
            slots = [
                slot
                for slot, flow in flows.flows.items()
                if (form is None or flow.form.name == form)
                and all(word in f"{flow.id} {flow.name} {flow.source} {flow.to}".lower() for word in words)
            ]
            now_ns = _CLOCK.now_ns()
            return [bodies.flow_body(flows, slot, now_ns) for slot in slots[offset : offset + limit]], len(slots)

        return ([], 0) if self._receivers.listening is None else await self._receivers.ask(read)

    async def get(self, flow_id: str) -> dict[str, Any]:
        """One. Raises: RequestError (404)."""
        return await self._of(flow_id, lambda flows, slot: bodies.flow_body(flows, slot, _CLOCK.now_ns()))

    async def datagrams(self, flow_id: str, limit: int) -> list[dict[str, Any]]:
        """The last ones, newest last. Raises: RequestError (404)."""
        return await self._of(flow_id, lambda flows, slot: bodies.datagrams(flows, slot, limit))

    async def steps(self, flow_id: str, from_unix_ns: int, to_unix_ns: int, step_s: float | None) -> Steps:
        """What happened to one over time; it is kept in finer steps from now on. Raises: RequestError (404)."""

        def read(flows: HeardFlows, slot: int) -> Steps:
            now_ns = _CLOCK.now_ns()
            flows.timeline.watch(slot, now_ns)
            return flows.timeline.flow(slot, from_unix_ns, to_unix_ns, step_s, _CLOCK.unix_ns() - now_ns)

        return await self._of(flow_id, read)

    async def picture(self, flow_id: str) -> dict[str, Any]:
        """All its channels, and its newest datagram to the end. Raises: RequestError (404)."""
        return await self._of(flow_id, lambda flows, slot: bodies.picture_body(flows, slot, _CLOCK.now_ns()))

    async def _of(self, flow_id: str, read: Callable[[HeardFlows, int], T]) -> T:
        def find(listening: Listening) -> T:
            slot = listening.flows.slot_of_id.get(flow_id)
            if slot is None:
                raise _no_flow(flow_id)
            return read(listening.flows, slot)

        if self._receivers.listening is None:
            raise _no_flow(flow_id)
        return await self._receivers.ask(find)


def _no_flow(flow_id: str) -> RequestError:
    return RequestError(f"no flow {flow_id!r}", field="id", kind="not-found")
