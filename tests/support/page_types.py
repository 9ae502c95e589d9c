"""The page's types of JSON bodies, made from the shapes that the backend sends.

`python -m tests.support.page_types` writes frontend/modules/feed/bodies.d.ts anew.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[1]))

from udprism.node import bodies

PATH = Path(__file__).parents[2] / "frontend" / "modules" / "feed" / "bodies.d.ts"
_HEAD = """\
// Made by `python -m tests.support.page_types` from backend/udprism/node/bodies: change the shapes there.
// Every field is always there; null stands for what cannot be known.

"""
_SCALARS = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    Any: "unknown",
    object: "unknown",
}


def type_text(hint: Any) -> str:
    """A Python type as TypeScript. Raises: TypeError for one that no JSON body has."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hasattr(hint, "__required_keys__"):
        return str(hint.__name__)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(f'"{one}"' for one in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(one) for one in arguments))
    if origin is list:
        inner = type_text(arguments[0])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if origin in (dict, Mapping) and arguments[0] is str:
        return f"Record<string, {type_text(arguments[1])}>"
    raise TypeError(f"no JSON body has a {hint}")


def shape_text(name: str, shape: Any) -> str:
    """A TypedDict as an interface, with what it says of itself."""
    about = " ".join(str(shape.__doc__).split())
    fields = [f"  {field}: {type_text(hint)};" for field, hint in get_type_hints(shape).items()]
    return "\n".join((f"/** {about} */", f"export interface {name} {{", *fields, "}", ""))


def page_types() -> str:
    """The whole file."""
    return _HEAD + "\n".join(shape_text(name, getattr(bodies, name)) for name in bodies.__all__)


if __name__ == "__main__":
    PATH.write_text(page_types())
