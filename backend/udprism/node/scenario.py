"""Scenarios: who streams how fast for how long, which links they meet when, and what is expected of the result.

The text is TOML:

    title = "Two per cent"         # optional
    seed = 7                       # of every link that has none of its own; default 0
    clients = 20                   # named client-001, client-002 and so on; default 1
    rate_hz = 20                   # datagrams per second for each; default 10
    duration_s = 15
    expect = ["loss_ratio < 0.03", "unexplained == 0", "p99_delay_ms of client-001 > 50"]

    [[timeline]]                   # in the order of at_s
    at_s = 0
    to = "all"                     # the default link, for all that have none of their own; or a client, or several
    link = { loss_ratio = 0.02 }   # as in the REST body; or profile = "home-wifi"
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.link.link import MAX_SEED, Link
from udprism.link.profiles import PROFILES, profile_of
from udprism.serving.commands import MAX_RATE_HZ, MIN_RATE_HZ

MAX_CLIENTS = 10_000
MAX_DURATION_S = 86_400.0
MAX_STEPS = 1000
MAX_EXPECTATIONS = 100
EVERYBODY = "all"
MIN_KEPT_RATIO = 0.95
"""Of its schedule, that a sender must have kept for a verdict."""

COUNTS = (
    "sent", "received", "lost", "in_flight", "late", "reordered", "duplicates", "corrupt",
    "link", "sender_kernel", "receiver_kernel", "unexplained",
)  # fmt: skip
"""As in the ledger's body; the last four are the causes of loss."""
RATIOS = {
    "loss_ratio": "lost",
    "reorder_ratio": "reordered",
    "duplicate_ratio": "duplicates",
    "corrupt_ratio": "corrupt",
}
"""Of the datagrams whose fate is known (received or lost), the share with this fate."""
DELAYS = ("min_delay_ms", "p50_delay_ms", "p95_delay_ms", "p99_delay_ms", "max_delay_ms", "jitter_ms")
"""One client's own, or of all clients the largest."""
MEASURES = (*COUNTS, *RATIOS, *DELAYS)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPECTATION = re.compile(
    r"\s*(?P<measure>\w+)(?:\s+of\s+(?P<subject>[\w-]+))?\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<limit>[-+.\deE]+)\s*"
)

Results = Mapping[str, Mapping[str, float | None]]
"""Measures by subject: "all" and each client's name. None: cannot be known."""


@dataclass(frozen=True, slots=True)
class Step:
    """At at_s after the start these clients get this link; an empty tuple: all clients (the default link)."""

    at_s: float
    clients: tuple[str, ...]
    link: Link
    what: str
    """For people: a profile's id, or "link"."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """`measure` of `subject` compared with `limit`, as it was written in `text`."""

    text: str
    measure: str
    subject: str
    sign: str
    limit: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an expectation. What cannot be known (None) is not met."""

    expectation: Expectation
    measured: float | None
    met: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A valid scenario; the timeline is in order of at_s."""

    title: str
    seed: int
    clients: tuple[str, ...]
    rate_hz: float
    duration_s: float
    timeline: tuple[Step, ...]
    expectations: tuple[Expectation, ...]

    @classmethod
    def from_toml(cls, text: str) -> Scenario:
        """Raises: RequestError, with the field at fault (`timeline[2].link.loss_ratio`) and what would be right."""
        try:
            document = tomllib.loads(text.removeprefix("\ufeff"))  # a byte-order mark, as some editors write
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            raise RequestError(f"not TOML: {error}") from None
        known = ("title", "seed", "clients", "rate_hz", "duration_s", "timeline", "expect")
        body = read.table(document, None, known)
        if "duration_s" not in body:
            raise RequestError("say for how many seconds the scenario runs", field="duration_s")
        duration_s = read.number(body["duration_s"], "duration_s", 0.1, MAX_DURATION_S)
        seed = read.whole(body.get("seed", 0), "seed", 0, MAX_SEED)
        clients = client_names(read.whole(body.get("clients", 1), "clients", 1, MAX_CLIENTS))
        return cls(
            title=read.text(body.get("title", "Scenario"), "title", 200),
            seed=seed,
            clients=clients,
            rate_hz=read.number(body.get("rate_hz", 10.0), "rate_hz", MIN_RATE_HZ, MAX_RATE_HZ),
            duration_s=duration_s,
            timeline=_timeline(body.get("timeline", []), duration_s, clients, seed),
            expectations=_expectations(body.get("expect", []), clients),
        )


def client_names(count: int) -> tuple[str, ...]:
    """The names that a fresh bridge gives to this many clients."""
    return tuple(f"client-{number:03d}" for number in range(1, count + 1))


def kept_ratio(sent: int, skipped: int) -> float | None:
    """The part of its schedule that a sender kept: datagrams that were made, of those and the skipped ticks."""
    return sent / (sent + skipped) if sent + skipped else None


def is_kept(ratio: float | None) -> bool:
    """Whether what was measured is a measurement of what was asked for. A verdict over anything else is void."""
    return ratio is None or ratio >= MIN_KEPT_RATIO


def kept_in_words(ratio: float | None) -> str:
    """For people."""
    return "the schedule is unknown" if ratio is None else f"the sender kept {ratio:.0%} of its schedule"


def evaluate(scenario: Scenario, results: Results) -> list[Outcome]:
    """The outcome of each expectation, in their order."""
    outcomes = []
    for one in scenario.expectations:
        measured = results[one.subject][one.measure]
        met = measured is not None and _OPERATORS[one.sign](measured, one.limit)
        outcomes.append(Outcome(one, measured, met))
    return outcomes


def _rows(value: object, field: str, most: int) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise RequestError(f"expected a list of at most {most}", field=field)
    return value


def _timeline(value: object, duration_s: float, clients: tuple[str, ...], seed: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    known = frozenset(clients)
    for place, row in enumerate(_rows(value, "timeline", MAX_STEPS)):
        field = f"timeline[{place}]"
        body = read.table(row, field, ("at_s", "to", "link", "profile"))
        if "at_s" not in body:
            raise RequestError("say at which second this happens", field=f"{field}.at_s")
        at_s = read.number(body["at_s"], f"{field}.at_s", 0.0, duration_s)
        if steps and at_s < steps[-1].at_s:
            raise RequestError(
                f"the timeline is out of order: {at_s:g} comes after {steps[-1].at_s:g}", field=f"{field}.at_s"
            )
        link, what = _link(body, field, seed)
        steps.append(Step(at_s, _recipients(body.get("to", EVERYBODY), f"{field}.to", known), link, what))
    return tuple(steps)


def _recipients(value: object, field: str, known: frozenset[str]) -> tuple[str, ...]:
    if value == EVERYBODY:
        return ()
    names = value if isinstance(value, list) else [value]
    if not names:
        raise RequestError(f'expected "{EVERYBODY}", a client or a list of clients', field=field)
    for name in names:
        _require_client(name, field, known)
    return tuple(dict.fromkeys(names))


def _require_client(name: object, field: str, known: frozenset[str]) -> None:
    if not isinstance(name, str) or name not in known:
        last = client_names(len(known))[-1]
        raise RequestError(f"unknown client {name!r:.40}; there are client-001 to {last}", field=field)


def _link(body: Mapping[str, object], field: str, seed: int) -> tuple[Link, str]:
    if ("link" in body) == ("profile" in body):
        raise RequestError("name either a link or a profile", field=f"{field}.link")
    if "profile" in body:
        profile = profile_of(body["profile"]) if isinstance(body["profile"], str) else None
        if profile is None:
            names = ", ".join(profile.id for profile in PROFILES)
            raise RequestError(f"unknown profile; known are {names}", field=f"{field}.profile")
        return replace(profile.link, seed=seed), profile.id
    given = body["link"]
    try:
        link = Link.from_body(given)
    except RequestError as error:
        inner = f"{field}.link" if error.field is None else f"{field}.link.{error.field}"
        raise RequestError(error.detail, field=inner) from None
    own_seed = isinstance(given, dict) and "seed" in given
    return (link if own_seed else replace(link, seed=seed)), "link"


def _expectations(value: object, clients: tuple[str, ...]) -> tuple[Expectation, ...]:
    known = frozenset(clients)
    return tuple(
        _expectation(row, f"expect[{place}]", known)
        for place, row in enumerate(_rows(value, "expect", MAX_EXPECTATIONS))
    )


def _expectation(value: object, field: str, known: frozenset[str]) -> Expectation:
    text = read.text(value, field, 200)
    match = _EXPECTATION.fullmatch(text)
    if match is None:
        raise RequestError('expected a measure, a sign and a number, such as "loss_ratio < 0.03"', field=field)
    if match["measure"] not in MEASURES:
        raise RequestError(f"unknown measure {match['measure']}; known are {', '.join(MEASURES)}", field=field)
    subject = match["subject"] or EVERYBODY
    if subject != EVERYBODY:
        _require_client(subject, field, known)
    try:
        limit = float(match["limit"])
    except ValueError:
        raise RequestError(f"{match['limit']} is no number", field=field) from None
    return Expectation(" ".join(text.split()), match["measure"], subject, match["sign"], limit)
