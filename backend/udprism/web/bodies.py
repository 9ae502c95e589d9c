"""What callers may send: REST bodies, queries, and the live feed's two messages.

Strict: an unknown field, a wrong type or a value out of range is refused and named; nothing is guessed or coerced.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.link import link
from udprism.link.field import Field as LinkField
from udprism.link.field import fields_of
from udprism.node.kept import MAX_ID_CHARACTERS, MAX_TARGET_CHARACTERS
from udprism.serving import commands
from udprism.serving.clients import ModeName
from udprism.wire.measured import MAX_COLOURS

NAME_CHARACTERS = commands.MAX_NAME_CHARACTERS
RATE_HZ = (commands.MIN_RATE_HZ, commands.MAX_RATE_HZ)
COLOURS = (1, MAX_COLOURS)
WATCHED_ROWS = 256
MAX_LISTED = 1000
"""Bodies in one answer: ten thousand would stall the event loop for 150 ms."""


def _name(name: str) -> str:
    fault = commands.name_fault(name)
    if fault is not None:
        raise ValueError(fault)
    return name


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=NAME_CHARACTERS,
        description=f"printable characters that take at most {commands.MAX_NAME_BYTES} bytes, percent-encoded",
        json_schema_extra={"pattern": "^[^ ](.*[^ ])?$"},
    ),
    AfterValidator(_name),
]
RateHz = Annotated[float, Field(ge=RATE_HZ[0], le=RATE_HZ[1], allow_inf_nan=False)]
Colours = Annotated[int, Field(ge=COLOURS[0], le=COLOURS[1])]
Target = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TARGET_CHARACTERS,
        description="HOST:PORT of a colour server; the port is 1024 or more, the host one that is allowed here",
        json_schema_extra={"pattern": "^.+:[0-9]+$"},
    ),
]
StateName = Literal["connecting", "live", "silent", "refused", "error", "paused"]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Find = Annotated[
    str, Field(max_length=200, description="words that must all occur in name, id, address, stream or kind")
]
Slot = Annotated[int, Field(ge=0, lt=1 << 31)]


class Body(BaseModel):
    """Root of all bodies: strict, nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Root of all query strings: nothing unknown; text becomes numbers."""

    model_config = ConfigDict(extra="forbid")


class AddClients(Body):
    """`POST /api/clients`: all optional; the bridge fills in defaults."""

    name: Name | None = None
    target: Target | None = None
    rate_hz: RateHz | None = None
    colours: Colours | None = None
    mode: ModeName | None = None
    count: Annotated[int, Field(ge=1, le=100_000)] = 1


class ClientChanges(TypedDict, total=False):
    """`PATCH /api/clients/{id}`: only the given fields change, and none can be null."""

    __pydantic_config__ = Body.model_config  # type: ignore[misc]

    name: Name
    rate_hz: RateHz
    colours: Colours
    paused: bool


class StartScenario(Body):
    """`POST /api/scenarios`: TOML, as `udprism run` reads it."""

    text: Annotated[str, Field(min_length=1, max_length=30_000)]


def _needs(field: str, other: str, **more: Any) -> dict[str, Any]:
    """JSON Schema for: where `field` is above 0, so must `other` be."""
    above_0 = {"exclusiveMinimum": 0}
    return {
        "if": {"required": [field], "properties": {field: above_0}},
        "then": {"required": [other], "properties": {other: above_0, **more}},
    }


def _field_schema(field: LinkField) -> dict[str, Any]:
    """JSON Schema of one of a link's fields, from its description."""
    match field.kind:
        case "flag":
            schema: dict[str, Any] = {"type": "boolean"}
        case "choice":
            schema = {"type": "string", "enum": list(field.choices)}
        case "group":
            schema = _object_schema(fields_of(link.Burst)) | _needs("enter_ratio", "leave_ratio")
        case "whole":
            schema = {"type": "integer", "minimum": int(field.low), "maximum": int(field.high)}
        case _:
            schema = {"type": "number", "minimum": field.low, "maximum": field.high}
    if field.or_none or field.kind == "group":
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema | {"title": field.label} | ({"description": field.note} if field.note else {})


def _object_schema(fields: dict[str, LinkField]) -> dict[str, Any]:
    properties = {name: _field_schema(field) for name, field in fields.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


_LINK_SCHEMA = _object_schema(link.LINK_FIELDS) | _needs("reorder_ratio", "delay_ms", keep_order={"const": False})
LinkBody = Annotated[dict[str, Any], WithJsonSchema(_LINK_SCHEMA | {"title": "Link"})]
"""`PUT /api/links/{id}`. The document says what `link.link` checks: its words are about links, pydantic's are not."""


class ListQuery(Query):
    """`GET /api/clients`."""

    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED
    state: StateName | None = None
    query: Annotated[str, Field(max_length=NAME_CHARACTERS, description="part of a name, target or id")] | None = None


class SessionsQuery(Query):
    """`GET /api/sessions`."""

    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED
    query: Find | None = None


class RemoveQuery(Query):
    """`DELETE /api/clients`: those named by `id`, which may be repeated; all if none is named."""

    id: list[Id] | None = None


class DatagramsQuery(Query):
    """`GET /api/clients/{id}/datagrams`."""

    limit: Annotated[int, Field(ge=1, le=4096)] = 256
    format: Literal["json", "csv", "jsonl"] = "json"


class HistoryQuery(Query):
    """`GET /api/history`."""

    flow: Annotated[
        Id | None, Field(description="id of a client, or of a receiver's or sender's flow; missing: all clients")
    ] = None
    from_s: Annotated[
        float | None, Field(alias="from", ge=0, le=1e11, allow_inf_nan=False, description="Unix time in seconds")
    ] = None
    to_s: Annotated[
        float | None, Field(alias="to", ge=0, le=1e11, allow_inf_nan=False, description="Unix time in seconds")
    ] = None
    step_s: Annotated[
        float | None,
        Field(gt=0, le=86_400, allow_inf_nan=False, description="longest step wanted; the finest is never refused"),
    ] = None
    format: Literal["json", "csv"] = "json"


class Watch(Body):
    """What a viewer shows. Replaces its earlier `watch`."""

    type: Literal["watch"]
    rows: Annotated[list[Slot], Field(max_length=WATCHED_ROWS)] = []
    client: Id | None = None
    sessions: bool = False
    find: Find = ""
    session: Id | None = None


class More(Body):
    """A viewer asks for one frame."""

    type: Literal["more"]
    rows: bool = False


ViewerMessage: TypeAdapter[Watch | More] = TypeAdapter(Annotated[Watch | More, Field(discriminator="type")])


def fault(error: Any) -> tuple[str, str]:
    """Field and what would be right, of one pydantic error; the value at fault is not in it."""
    place = error["loc"][1:] if error["loc"][:1] in (("body",), ("query",), ("path",)) else error["loc"]
    # Of a field that may be one thing or another, Pydantic adds which one it tried: `list[str]`, `literal['all']`.
    own = takewhile(lambda part: "[" not in part, map(str, place))
    field = ".".join(own)[:NAME_CHARACTERS]
    match error["type"]:
        case "extra_forbidden":
            return field, "there is no such field; /api/openapi.json lists those that there are"
        case "json_invalid":
            return "", "the body is not JSON"
        case "union_tag_invalid" | "union_tag_not_found":
            return "type", "must be 'watch' or 'more'"
        case "value_error":
            return field, str(error["ctx"]["error"])
        case _:
            return field, str(error["msg"]).removeprefix("Input ").replace("should be", "must be")
