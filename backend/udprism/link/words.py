"""Parses a link that was typed: a profile's name, `loss=2%,delay=40`, or the REST body as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from udprism.errors import RequestError
from udprism.link.link import LINK_FIELDS, Link
from udprism.link.profiles import PROFILES

_WORDS = {field.word: (name, field) for name, field in LINK_FIELDS.items() if field.word}
EXAMPLE = "loss=2%,delay=40,jitter=5"


def read_link(text: str, field: str, seed: int | None = None) -> Link:
    """A link from words. seed: taken if the words do not name one. Raises: RequestError, which names the field."""
    try:
        link, has_seed = _read(text.strip())
    except RequestError as error:
        raise RequestError(f"{error.detail} ({error.field})" if error.field else error.detail, field=field) from None
    return link if seed is None or has_seed else replace(link, seed=seed)


def _read(text: str) -> tuple[Link, bool]:
    for profile in PROFILES:
        if text == profile.id:
            return profile.link, False
    if text.startswith("{"):
        try:
            body = json.loads(text)
        except ValueError as error:
            raise RequestError(f"not JSON: {error}") from None
        return Link.from_body(body), "seed" in body
    body = {}
    for part in text.split(","):
        word, _, value = part.strip().partition("=")
        name, field = _WORDS.get(word, ("", None))
        if field is not None and field.kind == "flag":
            body[name] = value in ("", "yes", "true", "on")
        elif field is not None and field.kind == "ratio" and value:
            body[name] = _number(value.removesuffix("%"), word) / (100 if value.endswith("%") else 1)
        elif field is not None and value:
            body[name] = _number(value, word)
        else:
            known = ", ".join(_WORDS)
            profiles = ", ".join(profile.id for profile in PROFILES)
            raise RequestError(
                f"expected words such as {EXAMPLE} (known: {known}), JSON, or a profile ({profiles}), not {part!r}"
            )
    return Link.from_body(body), "seed" in body


def _number(text: str, word: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError(f"expected a number, not {text!r}", field=word) from None
