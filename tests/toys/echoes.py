"""The echoes of this program: begun, shown, ended, and kept over a restart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from udprism.node.bodies.echoes import Echo, echo_body, flow_of_echo
from udprism.node.echo_plan import EchoPlan
from udprism.udp.endpoints.echo import EchoEndpoint

from udprism.errors import BindError, RequestError
from udprism.node.kept import KeptEndpoint
from udprism.node.store import Store
from udprism.udp.arrivals import best_receiver
from udprism.udp.clock import SystemClock
from udprism.udp.loop import Loop
from udprism.udp.sockets import bind

KIND: Final = "echo"


class Echoes:
    """Coroutines belong to one event loop; what the loop's thread owns is asked for by its inbox."""

    def __init__(self, keep: Callable[[Callable[[Store], None]], Awaitable[None]]) -> None:
        self._keep = keep
        self._endpoints: dict[str, EchoEndpoint] = {}
        self._loop: Loop | None = None

    def restore(self, kept: list[KeptEndpoint]) -> None:
        for one in kept:
            self._begun().inbox.submit(lambda one=one: self._open(one.id, EchoPlan.from_json(one.body))).result()

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.stop()

    def counters(self) -> dict[str, Any]:
        return {"echo_datagrams_total": sum(one.datagrams for one in list(self._endpoints.values()))}

    async def add(self, listen: str) -> Echo:
        """Raises: RequestError (409, 422, 507), with the field at fault."""
        plan, echo_id = EchoPlan.asked(listen), f"e-{secrets.token_hex(6)}"
        endpoint = await asyncio.wrap_future(self._begun().inbox.submit(lambda: self._open(echo_id, plan)))
        plan = EchoPlan(*endpoint.address)
        await self._keep(lambda store: store.put_endpoint(KeptEndpoint(echo_id, KIND, plan.to_json())))
        return echo_body(echo_id, endpoint.address, 0)

    def every(self) -> list[Echo]:
        return [echo_body(name, one.address, one.datagrams) for name, one in self._endpoints.items()]

    def flows(self) -> list[dict[str, Any]]:
        return [flow_of_echo(one) for one in self.every()]

    async def remove(self, echo_id: str) -> None:
        """Raises: RequestError (404, 507)."""
        if echo_id not in self._endpoints:
            raise RequestError(f"no echo {echo_id!r}", field="id", kind="not-found")
        await self._keep(lambda store: store.remove_endpoint(echo_id))
        await asyncio.wrap_future(self._begun().inbox.submit(lambda: self._close(echo_id)))

    def _begun(self) -> Loop:
        if self._loop is None:
            self._loop = Loop("udprism-echo", best_receiver(16, 2048, 256, 0), 16, SystemClock())
            self._loop.thread.start()
        return self._loop

    def _open(self, echo_id: str, plan: EchoPlan) -> EchoEndpoint:
        try:
            endpoint = EchoEndpoint(bind(plan.host, plan.port, 1 << 16))
        except BindError as error:
            raise RequestError(str(error), field="listen", kind="cannot-bind") from error
        loop = self._begun()
        endpoint.slot = loop.hear(endpoint, endpoint.sock)
        loop.add(endpoint)
        self._endpoints[echo_id] = endpoint
        return endpoint

    def _close(self, echo_id: str) -> None:
        endpoint, loop = self._endpoints.pop(echo_id), self._begun()
        loop.unhear(endpoint.sock, endpoint.slot)
        loop.remove(endpoint)
        endpoint.end(0)
