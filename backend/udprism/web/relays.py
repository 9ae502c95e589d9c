"""REST for relays: /api/relays and below."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.link import rules
from udprism.link.link import Link
from udprism.node import bodies as answers
from udprism.node.bodies.relays import DATAGRAM_FIELDS
from udprism.node.relays import Relays
from udprism.relay.memory import HISTORY, MAX_RULES
from udprism.relay.plan import MAX_FLOWS, MAX_IDLE_S, MAX_NAME_CHARACTERS, MIN_IDLE_S
from udprism.web import bodies
from udprism.web.answers import answer, datagrams_answer
from udprism.web.routes import NO_CONTENT, add_routes

Direction = Literal["up", "down"]
Address = Annotated[str, Field(min_length=3, max_length=255, json_schema_extra={"pattern": "^.+:[0-9]+$"})]
IdleS = Annotated[float, Field(ge=MIN_IDLE_S, le=MAX_IDLE_S, allow_inf_nan=False)]
Hex = Annotated[str, Field(min_length=2, max_length=2 * rules.MAX_MATCH_BYTES, pattern="^([0-9a-fA-F]{2})+$")]


class RuleBody(TypedDict, total=False):
    """A rule for chosen datagrams; `link.rules` checks what belongs together."""

    __pydantic_config__ = bodies.Body.model_config  # type: ignore[misc]

    action: Literal["drop", "duplicate", "hold"]
    direction: Literal["up", "down", "both"]
    nth: Annotated[int, Field(ge=1)] | None
    every: Annotated[int, Field(ge=1)] | None
    offset: Annotated[int, Field(ge=0, le=rules.MAX_OFFSET)]
    mask: Hex | None
    value: Hex | None
    ratio: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]
    hold_ms: Annotated[float, Field(ge=0)]


RuleBodies = Annotated[list[RuleBody], Field(max_length=MAX_RULES)]


class AddRelay(bodies.Body):
    """`POST /api/relays`: only the target is required."""

    target: Address
    listen: Address | None = None
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    up: bodies.LinkBody | None = None
    down: bodies.LinkBody | None = None
    rules: RuleBodies | None = None
    idle_s: IdleS | None = None
    max_flows: Annotated[int, Field(ge=1, le=MAX_FLOWS)] | None = None
    any_port: bool | None = None
    keep_ttl: bool | None = None
    dont_fragment: bool | None = None
    keep_payload: bool | None = None
    allow_from: Annotated[list[str], Field(max_length=64)] | None = None


class RelayChanges(TypedDict, total=False):
    """`PATCH /api/relays/{id}`: only the given fields change."""

    __pydantic_config__ = bodies.Body.model_config  # type: ignore[misc]

    up: bodies.LinkBody
    down: bodies.LinkBody
    rules: RuleBodies
    idle_s: IdleS


class FlowsQuery(bodies.Query):
    """`GET /api/relays/{id}/flows`."""

    query: bodies.Find | None = None
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=bodies.MAX_LISTED)] = 100
    cells: Annotated[int, Field(ge=0, le=HISTORY)] = 0


class DatagramsQuery(bodies.Query):
    """`GET …/datagrams`."""

    direction: Direction = "up"
    limit: Annotated[int, Field(ge=1, le=HISTORY)] = HISTORY
    format: Literal["json", "csv", "jsonl"] = "json"


class RebindQuery(bodies.Query):
    """`POST …/rebind`."""

    flow: bodies.Id | None = None


class RelayRoutes:
    """The routes of one program's relays."""

    def __init__(self, relays: Relays) -> None:
        self._relays = relays

    def add_to(self, router: APIRouter) -> None:
        """Add them below /api."""
        flow = "/relays/{relay_id}/flows/{flow_id}"
        one_way = "/relays/{relay_id}/links/{direction}"
        routes = (
            ("GET", "/relays", self.list_relays, answers.RelayList),
            ("POST", "/relays", self.add_relay, answers.RelayBody),
            ("GET", "/relays/{relay_id}", self.get_relay, answers.RelayBody),
            ("PATCH", "/relays/{relay_id}", self.change_relay, answers.RelayBody),
            ("DELETE", "/relays/{relay_id}", self.remove_relay, None),
            ("GET", one_way, self.get_relay_link, answers.Link),
            ("PUT", one_way, self.put_relay_link, answers.Link),
            ("DELETE", one_way, self.remove_relay_link, None),
            ("POST", "/relays/{relay_id}/rebind", self.rebind, answers.Rebound),
            ("POST", "/relays/{relay_id}/reset", self.reset, None),
            ("GET", "/relays/{relay_id}/flows", self.list_flows, answers.RelayFlows),
            ("GET", flow, self.get_flow, answers.RelayFlow),
            ("DELETE", flow, self.end_flow, None),
            ("PUT", flow + "/links/{direction}", self.put_flow_link, None),
            ("DELETE", flow + "/links/{direction}", self.remove_flow_link, None),
            ("GET", flow + "/datagrams", self.list_flow_datagrams, answers.RelayDatagrams),
        )
        add_routes(router, routes, created=("/relays",))

    async def list_relays(self) -> Response:
        """All relays, in the order in which they were started."""
        relays = await self._relays.every()
        return answer({"relays": relays, "total": len(relays)})

    async def add_relay(self, body: Annotated[AddRelay, Body()]) -> Response:
        """Forward datagrams between `listen` and `target`, through a link in each direction. Port 0: the kernel
        chooses."""
        return answer(await self._relays.add(body.model_dump()), 201)

    async def get_relay(self, relay_id: str) -> Response:
        """One relay, with the sums of both directions."""
        return answer(await self._relays.get(relay_id))

    async def change_relay(self, relay_id: str, body: RelayChanges) -> Response:
        """Change the links, rules or idle time, from the next datagram on."""
        return answer(await self._relays.change(relay_id, dict(body)))

    async def remove_relay(self, relay_id: str) -> Response:
        """End a relay; its flows end with it."""
        await self._relays.remove(relay_id)
        return Response(status_code=NO_CONTENT)

    async def get_relay_link(self, relay_id: str, direction: Direction) -> Response:
        """The link of one direction."""
        return answer(await self._relays.link(relay_id, direction))

    async def put_relay_link(
        self, relay_id: str, direction: Direction, body: Annotated[bodies.LinkBody, Body()]
    ) -> Response:
        """Set it, for all flows without a link of their own. Omitted fields are off."""
        Link.from_body(body)  # here the body is the link: its field at fault has no other name before it
        changed: dict[str, Any] = await self._relays.change(relay_id, {direction: body})
        return answer(changed[direction])

    async def remove_relay_link(self, relay_id: str, direction: Direction) -> Response:
        """Remove it: everything passes in this direction."""
        await self._relays.change(relay_id, {direction: {}})
        return Response(status_code=NO_CONTENT)

    async def rebind(self, relay_id: str, query: Annotated[RebindQuery, Query()]) -> Response:
        """Change the source ports towards the target, of one flow or of all, as a NAT does after it forgot a
        mapping."""
        return answer({"rebound": await self._relays.rebind(relay_id, query.flow)})

    async def reset(self, relay_id: str) -> Response:
        """End all flows and restart the counts. The next client is the first again, and its datagrams meet the same
        fates."""
        await self._relays.reset(relay_id)
        return Response(status_code=NO_CONTENT)

    async def list_flows(self, relay_id: str, query: Annotated[FlowsQuery, Query()]) -> Response:
        """A relay's flows, in the order in which they began. `cells` adds that many of the last datagrams of each."""
        flows, total = await self._relays.flows(relay_id, query.query, query.offset, query.limit, query.cells)
        return answer({"flows": flows, "total": total})

    async def get_flow(self, relay_id: str, flow_id: str) -> Response:
        """One flow, with the sums of both directions."""
        return answer(await self._relays.flow(relay_id, flow_id))

    async def end_flow(self, relay_id: str, flow_id: str) -> Response:
        """End one flow. Its client's next datagram starts a new one."""
        await self._relays.end_flow(relay_id, flow_id)
        return Response(status_code=NO_CONTENT)

    async def put_flow_link(
        self, relay_id: str, flow_id: str, direction: Direction, body: Annotated[bodies.LinkBody, Body()]
    ) -> Response:
        """Give one flow a link of its own, until it ends."""
        await self._relays.set_flow_link(relay_id, flow_id, direction, body)
        return Response(status_code=NO_CONTENT)

    async def remove_flow_link(self, relay_id: str, flow_id: str, direction: Direction) -> Response:
        """Remove it: the relay's link applies again."""
        await self._relays.set_flow_link(relay_id, flow_id, direction, None)
        return Response(status_code=NO_CONTENT)

    async def list_flow_datagrams(
        self, relay_id: str, flow_id: str, query: Annotated[DatagramsQuery, Query()]
    ) -> Response:
        """The last datagrams of one direction, newest last."""
        datagrams = await self._relays.datagrams(relay_id, flow_id, query.direction, query.limit)
        return datagrams_answer(datagrams, DATAGRAM_FIELDS, query.format)
