"""Links, their summary, and profiles."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal, cast

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from udprism.link import link as links
from udprism.link import profiles


class Burst(TypedDict):
    """Losses that come together: a Gilbert-Elliott chain."""

    enter_ratio: float
    leave_ratio: float
    loss_ratio: float


class Link(TypedDict):
    """What is done to datagrams on their way out."""

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
    mtu_bytes: int | None
    blackout: bool
    seed: int


class Slider(TypedDict):
    """A power curve from 0 to `most`; most and step in the unit that is shown, per cent for a ratio."""

    most: float
    power: float
    step: float


class LinkField(TypedDict):
    """One field of a link, `burst.enter_ratio` for a part of a burst. low, high: bounds of a number. choices: all
    values of a choice. none: whether null stands for no limit. rare: shown only when asked for."""

    field: str
    kind: Literal["ratio", "number", "whole", "flag", "choice"]
    label: str
    unit: str
    default: float | bool | str | None
    low: float
    high: float
    choices: list[str]
    none: bool
    rare: bool
    slider: Slider | None
    note: str


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
    """A named link."""

    id: str
    name: str
    models: str
    source: str
    link: Link


class Profiles(TypedDict):
    """All of them."""

    profiles: list[Profile]


def link_body(link: links.Link) -> Link:
    """A link, every field there."""
    return cast(Link, link.to_body())


def own_link_body(link: links.Link | None) -> Link | None:
    """A link that may be null: its owner has none."""
    return None if link is None else link_body(link)


def link_fields_body() -> list[LinkField]:
    """The table of a link's fields: what the page makes its controls from."""
    return [
        {
            "field": path,
            "kind": cast(Literal["ratio", "number", "whole", "flag", "choice"], field.kind),
            "label": field.label,
            "unit": field.unit,
            "default": default,
            "low": field.low,
            "high": field.high,
            "choices": list(field.choices),
            "none": field.or_none,
            "rare": field.rare,
            "slider": None if field.slider is None else cast(Slider, asdict(field.slider)),
            "note": field.note,
        }
        for path, default, field in links.table()
    ]


def profiles_body() -> Profiles:
    """The named links."""
    return {
        "profiles": [
            {
                "id": one.id,
                "name": one.name,
                "models": one.models,
                "source": one.source,
                "link": link_body(one.link),
            }
            for one in profiles.PROFILES
        ]
    }
