"""A sender's plan, from a request or from the store."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from udprism.columns.types import NS_PER_S, Address, format_address
from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.link.link import Link
from udprism.node.receiver_plan import MAX_NAME_CHARACTERS
from udprism.serving.commands import MAX_RATE_HZ, MIN_RATE_HZ
from udprism.settings import split_host_port
from udprism.udp.endpoints.sender import Show
from udprism.wire.format import Encoder, Format, Sending
from udprism.wire.formats import FORMATS
from udprism.wire.patterns import is_still, pattern_of

MAX_PIXELS: Final = 43_520
"""256 universes."""
MAX_DATAGRAMS_A_SECOND: Final = 50_000
DEFAULT_RATE_HZ: Final = 40.0
DEFAULT_PIXELS: Final = 170
DEFAULT_PATTERN: Final = "rainbow"
_IDENTITY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class SenderPlan:
    """A test pattern on its way to `target`, an IP address. identity: hexadecimal, E1.31's CID; the same after a
    restart, so that receivers see the same source."""

    name: str
    format: str
    target: Address
    rate_hz: float
    colours: int
    pattern: str
    universe: int
    link: Link
    identity: str = field(default_factory=lambda: secrets.token_hex(_IDENTITY_BYTES))

    @property
    def form(self) -> Format:
        """Its format."""
        return FORMATS[self.format]

    def encoder(self) -> Encoder:
        """Makes its datagrams. Raises: RequestError: the format cannot send this."""
        try:
            encoder = self.form.encoder(Sending(self.colours, bytes.fromhex(self.identity), self.universe, self.name))
        except ValueError as error:
            raise RequestError(str(error), field="colours") from None
        if encoder is None:
            raise RequestError(f"{self.format} is only received", field="format")
        return encoder

    @property
    def period_ns(self) -> int:
        """Between two frames. A still picture is only refreshed."""
        if is_still(self.pattern):
            return round(self.encoder().refresh_s * NS_PER_S)
        return round(NS_PER_S / self.rate_hz)

    @property
    def show(self) -> Show:
        """What its endpoint sends."""
        pattern = pattern_of(self.pattern, int(self.identity[:8], 16))
        form = self.form
        return Show(self.encoder(), form.numbering, form.payload_at, pattern, self.colours, self.period_ns)

    @classmethod
    def asked(cls, given: dict[str, Any], target: Address) -> SenderPlan:
        """From a request, with what is not said filled in. target: where that is.

        Raises: RequestError, with the field at fault.
        """
        form = given["format"]
        if form not in FORMATS:
            raise RequestError(f"expected one of {', '.join(FORMATS)}", field="format")
        plan = cls(
            name=given.get("name") or form,
            format=form,
            target=target,
            rate_hz=given.get("rate_hz") or DEFAULT_RATE_HZ,
            colours=given.get("colours") or DEFAULT_PIXELS,
            pattern=given.get("pattern") or DEFAULT_PATTERN,
            universe=1 if given.get("universe") is None else given["universe"],
            link=Link.from_body(given.get("link") or {}),
        )
        return plan.checked()

    def checked(self) -> SenderPlan:
        """The same plan. Raises: RequestError, with the field at fault."""
        read.text(self.name, "name", MAX_NAME_CHARACTERS)
        read.number(self.rate_hz, "rate_hz", MIN_RATE_HZ, MAX_RATE_HZ)
        read.whole(self.colours, "colours", 1, MAX_PIXELS)
        read.whole(self.universe, "universe", 0, 63_999)
        try:
            pattern_of(self.pattern, 0)
        except (ValueError, AttributeError) as error:
            raise RequestError(str(error), field="pattern") from None
        if len(self.identity) != 2 * _IDENTITY_BYTES:
            raise RequestError(f"expected {2 * _IDENTITY_BYTES} hexadecimal digits", field="identity")
        per_second = len(self.encoder().parts) * self.rate_hz
        if per_second > MAX_DATAGRAMS_A_SECOND:
            raise RequestError(
                f"{per_second:,.0f} datagrams per second: at most {MAX_DATAGRAMS_A_SECOND:,}", field="rate_hz"
            )
        return self

    def to_json(self) -> str:
        """A text; `from_json` gives the same plan again."""
        return json.dumps(asdict(self) | {"link": self.link.to_body(), "target": format_address(self.target)})

    @classmethod
    def from_json(cls, text: str) -> SenderPlan:
        """From what was kept. Raises: RequestError: a disk may give back anything."""
        try:
            given = json.loads(text)
            host, port = split_host_port(given["target"])
            target = str(ip_address(host)), port
            identity = bytes.fromhex(given.pop("identity")).hex()
            plan = cls.asked(given, target)
            return cls(**{name: getattr(plan, name) for name in cls.__slots__ if name != "identity"}, identity=identity)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RequestError(f"not a sender's plan: {error!r}") from error
