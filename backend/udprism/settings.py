"""Every setting, with its bounds: read once at the top and passed down.

Each is also an environment variable with the prefix `UDPRISM_` (`UDPRISM_RATE_HZ=20`).
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from udprism.serving.commands import MAX_RATE_HZ, MIN_RATE_HZ

DEFAULT_CLIENTS: Final = 10
MAX_CLIENTS: Final = 100_000
MAX_SESSIONS: Final = 200_000
MAX_LEASE_S: Final = 365 * 86_400.0
_NAME: Final = re.compile("[a-z0-9._-]+")
_ORIGIN: Final = re.compile(r"(https?)://(\[[^\]]*\]|[^:/?#@\[\]]+)(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)
_PATH: Final = re.compile("(/[A-Za-z0-9._~-]+)+")
_NATS: Final = re.compile(r"(nats|tls)://(?:[^@/\s]+@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""Of HTTP: browsers leave them out of Host and Origin."""


class Origin(NamedTuple):
    """A page's origin as a browser sends it (RFC 6454), always with its port."""

    scheme: str
    host: str
    port: int


def split_host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000` or `[::1]:8000` as (host, port); the host is an IP address or a name.

    Raises: ValueError if it is neither or the port is not 0 to 65535.
    """
    if "://" in text:
        raise ValueError(f"expected HOST:PORT without a scheme, such as 127.0.0.1:12345, not {text!r}")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:12345 or [::1]:12345, not {text!r}")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError(f"expected HOST:PORT with a host, such as 0.0.0.0:{port}, not {text!r}")
    if host == "*":
        raise ValueError(f"for all addresses write 0.0.0.0:{port} or, IPv6 included, [::]:{port}")
    if ":" in host:
        ip_address(host)
    elif not _is_host(host):
        raise ValueError(f"{host!r} is not a valid host name")
    return host, int(port)


def _is_host(name: str) -> bool:
    """Whether the system's resolver accepts the name."""
    try:
        return name.isprintable() and bool(name.encode("idna"))
    except UnicodeError:
        return False


def reachable_host(host: str) -> str:
    """Where a program on this machine reaches what is bound to `host`: loopback, if that is a wildcard."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def host_name(text: str) -> str:
    """A name or address as a browser writes it into Host, but without brackets and port.

    Lower case, names beyond ASCII in IDNA's form, IPv6 addresses at their shortest.

    Raises: ValueError if no Host header has such a name.
    """
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if "/" in text or "*" in text:
        raise ValueError("expected a name or an address alone, such as lab.example: no scheme, no path, no wildcard")
    if ":" in text:
        raise ValueError("expected a name or an address without a port: any port of it is served")
    try:
        name = text.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise ValueError("expected a name or an address, such as lab.example")
    return name


def origin(text: str) -> Origin:
    """`https://lab.example`, as browsers send it in Origin.

    Raises: ValueError if it is not an origin.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError("expected an origin, such as https://lab.example or http://lab.example:8080, and no path")
    scheme = match[1].lower()
    port = int(match[3] or DEFAULT_PORTS[scheme])
    if port > 65535:
        raise ValueError("a port is at most 65535")
    return Origin(scheme, host_name(match[2]), port)


def _origin(text: str) -> str:
    text = text.removesuffix("/")
    origin(text)
    return text


def _path(text: str) -> str:
    path = text.rstrip("/")
    if path and not _PATH.fullmatch(path):
        raise ValueError("expected a path, such as /lab")
    return path


def _is_beyond_loopback(url: str) -> bool:
    match = _NATS.fullmatch(url)
    assert match is not None
    host = match[2].removeprefix("[").removesuffix("]")
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host.lower() != "localhost"


def _home(path: object) -> object:
    if not isinstance(path, (str, Path)):
        return path
    try:
        return Path(path).expanduser()  # a shell does that only to what begins with ~, not to `--data=~/x`
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _token(text: str) -> str:
    text = text.strip()  # a file's last line ends in a line feed
    if not text.isprintable():
        raise ValueError("a token has printable characters only")
    return text


def _host_port(text: str) -> str:
    split_host_port(text)
    return text


def _power_of_two(number: int) -> int:
    if number & (number - 1):
        below = 1 << number.bit_length() - 1
        raise ValueError(f"expected a power of two, such as {below} or {2 * below}")
    return number


def _network(text: str) -> str:
    ip_network(text)
    return text


def _commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _nats_url(text: str) -> str:
    if not _NATS.fullmatch(text):
        raise ValueError("expected nats://HOST:PORT or tls://HOST:PORT")
    return text


def _node_name(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("a node's name has printable characters only")
    return text


HostPort = Annotated[str, AfterValidator(_host_port)]
Network = Annotated[str, AfterValidator(_network)]
HostName = Annotated[str, AfterValidator(host_name)]
OriginText = Annotated[str, AfterValidator(_origin)]
Token = Annotated[str, AfterValidator(_token)]


class Settings(BaseSettings):
    """All settings. Lengths of time are `_s`, rates `_hz`; every `max_…` bounds a table or a queue."""

    model_config = SettingsConfigDict(env_prefix="UDPRISM_", env_ignore_empty=True, extra="ignore", frozen=True)

    udp: HostPort = Field("127.0.0.1:12345", description="Where the colour server listens.")
    http: HostPort = Field("127.0.0.1:8000", description="Where the page and the REST API are served.")
    rate_hz: float = Field(
        10.0, ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Datagrams per second for sessions that request no rate."
    )
    engine: Literal["batch", "threads"] = Field(
        "batch", description="How the server sends: batch, or threads (one per client)."
    )
    data: Annotated[Path, BeforeValidator(_home)] | None = Field(
        None, description="Directory for stored data; default: the user's data directory."
    )
    ephemeral: bool = Field(False, description="Store nothing.")
    token: Token | None = Field(None, description="Access token of the web app; generated if needed and missing.")
    allow_host: Annotated[list[HostName], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Further host names of the page, without port."
    )
    allow_origin: Annotated[list[OriginText], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Origin of the page behind a proxy, such as https://lab.example."
    )
    http_path: Annotated[str, AfterValidator(_path)] = Field(
        "", description="Path prefix that a proxy leaves in its requests, such as /lab."
    )
    allow_target: Annotated[list[Network], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Networks beyond this machine's own that hosted clients may send to."
    )
    udp_trust: Annotated[list[Network], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Networks served without a token when bound beyond loopback."
    )
    udp_lan_lease_s: float = Field(
        3600, ge=0.01, le=MAX_LEASE_S, description="Lease of an on-link client after its last datagram."
    )
    udp_lease_s: float = Field(
        60, ge=0.01, le=MAX_LEASE_S, description="Lease of any other client after its last datagram."
    )
    log_json: bool = Field(False, description="Log as JSON lines.")

    max_clients: int = Field(10_000, ge=1, le=MAX_CLIENTS, description="Hosted clients.")
    clients: int = Field(
        default_factory=lambda data: min(DEFAULT_CLIENTS, data.get("max_clients", DEFAULT_CLIENTS)),
        ge=0,
        le=MAX_CLIENTS,
        description="Hosted clients created on the first start.",
    )
    max_sessions: int = Field(
        24_000, ge=1, le=MAX_SESSIONS, description="Sessions of the colour server, including hosted ones."
    )
    max_remote_sessions: int = Field(10_000, ge=0, le=MAX_SESSIONS, description="Sessions from beyond loopback.")
    max_flows: int = Field(4096, ge=1, le=MAX_CLIENTS, description="Flows of receivers.")
    max_responses: int = Field(16, ge=1, le=1000, description="Responses kept for each session.")
    max_viewers: int = Field(200, ge=1, le=10_000, description="Browser tabs on the live feed.")
    max_taps: int = Field(64, ge=1, le=10_000, description="Websockets for single clients' datagrams.")
    tap_queue_datagrams: int = Field(1024, ge=1, le=1 << 20, description="Datagrams queued for one such websocket.")
    link_queue_datagrams: int = Field(
        65_536, ge=1, le=1 << 20, description="Datagrams that the link may delay at once."
    )
    max_fate_reports: int = Field(
        65_536, ge=1, le=1 << 20, description="Batches of fates waiting for the in-process ledger."
    )

    history_datagrams: Annotated[int, AfterValidator(_power_of_two)] = Field(
        256, ge=64, le=4096, description="Datagrams kept for each client; a power of two."
    )
    history_payload_bytes: int = Field(24, ge=24, le=1472, description="Bytes of each kept datagram.")
    history_over_time: bool = Field(
        True, description="Keep rate, loss and delay of each client over hours (about 7 KiB per client)."
    )
    keep_history: bool = Field(
        False, description="Keep what happened over time in the data directory, for the next start."
    )
    loss_after_s: float = Field(1.0, ge=0.001, le=3600, description="Age at which a missing datagram counts as lost.")
    loss_after_arrivals: int = Field(
        64, ge=1, le=1024, description="Later arrivals after which a datagram counts as lost."
    )
    silent_after_s: float = Field(
        2.0, ge=0.001, le=86_400, description="Time until a client is called silent; at least three periods."
    )

    receive_buffer_bytes: int = Field(
        4 << 20, ge=4096, le=1 << 30, description="SO_RCVBUF requested for the server's socket."
    )
    client_buffer_bytes: int = Field(
        256 << 10, ge=2048, le=1 << 30, description="SO_RCVBUF requested for each hosted client."
    )
    coalesce_ms: float = Field(6.0, ge=0, le=100, description="Wait of the pool between two reads of its sockets.")
    frame_hz: float = Field(25.0, ge=0.01, le=120, description="Live frames per second, at most.")

    nats_creds: Annotated[Path, BeforeValidator(_home)] | None = Field(
        None, description="File with this node's NATS credentials, or its NKey seed."
    )
    nats_ca: Annotated[Path, BeforeValidator(_home)] | None = Field(
        None, description="Certificate authority of the NATS server; default: the system's."
    )
    nats_plain: bool = Field(False, description="Allow a NATS server beyond this machine without TLS and credentials.")
    nats: Annotated[list[Annotated[str, AfterValidator(_nats_url)]], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], max_length=16, description="NATS server through which this node and others see each other."
    )
    node: Annotated[str, AfterValidator(_node_name)] | None = Field(
        None, min_length=1, max_length=64, description="This node's name; default: the host's."
    )
    remote: Literal["off", "read", "on"] = Field(
        "read", description="What other nodes may do here: off, read, or on (read and change)."
    )

    @field_validator("nats")
    @classmethod
    def _guarded(cls, urls: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("nats_plain"):
            return urls
        for url in urls:
            if _is_beyond_loopback(url) and (not url.startswith("tls://") or info.data.get("nats_creds") is None):
                raise ValueError("beyond this machine it takes tls:// and --nats-creds, or --nats-plain")
        if len({url.startswith("tls://") for url in urls}) > 1:
            raise ValueError("either all of them with tls:// or none")
        return urls

    @field_validator("clients")
    @classmethod
    def _fits(cls, clients: int, info: ValidationInfo) -> int:
        most = info.data.get("max_clients", clients)  # missing if it is wrong itself
        if clients > most:
            raise ValueError(f"more than max_clients (UDPRISM_MAX_CLIENTS), which is {most}")
        return clients

    @property
    def udp_address(self) -> tuple[str, int]:
        """Host and port of the colour server."""
        return split_host_port(self.udp)

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the web app."""
        return split_host_port(self.http)
