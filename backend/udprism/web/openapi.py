"""Adds to the API's description what FastAPI does not find out: problems, formats other than JSON, the server."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from udprism.web import problem

SERVERS: Final = [{"url": "..", "description": "This server, below whatever path a proxy has put it."}]
"""Relative to /api/openapi.json."""

FORMATS: Final = {"datagrams": ("text/csv", "application/jsonl"), "history": ("text/csv",)}
"""What `?format=` gives instead of JSON, by the path's last part."""

_TEXT: Final = {"schema": {"type": "string"}}
_PROBLEM_SCHEMA: Final = "#/components/schemas/Problem"

PROBLEM: Final[dict[str, Any]] = {"content": {problem.MEDIA_TYPE: {"schema": {"$ref": _PROBLEM_SCHEMA}}}}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The request cannot be fulfilled. Names the field and the accepted values.", **PROBLEM},
    "5XX": {"description": "The request cannot be fulfilled at present: see the detail.", **PROBLEM},
}


def text(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that answers in these formats, too."""
    return {200: {"content": dict.fromkeys(media_types, _TEXT)}} if media_types else {}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, with the schema that all problems refer to, and without null in parameters."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schema = TypeAdapter(problem.Problem).json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
    return document


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema: what is not said is left out, and no text of an address is null."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return kinds[0] | rest if len(kinds) == 1 else schema
