"""Every setting, with its bounds: read once at the top and passed down.

Each is also an environment variable with the prefix `UDPRISM_` (`UDPRISM_RATE_HZ=20`).
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from udprism.serving.commands import MAX_RATE_HZ, MIN_RATE_HZ


def split_host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000` or `[::1]:8000` as (host, port); the host is an IP address or a name.

    Raises: ValueError where it is neither or the port is not 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:12345 or [::1]:12345, not {text!r}")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError(f"expected HOST:PORT with a host, such as 0.0.0.0:{port}, not {text!r}")
    if ":" in host:
        ip_address(host)
    return host, int(port)


def reachable_host(host: str) -> str:
    """Where a program on this machine finds what is bound to `host`: a wildcard is no destination, loopback is."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _host_port(text: str) -> str:
    split_host_port(text)
    return text


def _network(text: str) -> str:
    ip_network(text)
    return text


def _commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


HostPort = Annotated[str, AfterValidator(_host_port)]
Network = Annotated[str, AfterValidator(_network)]


class Settings(BaseSettings):
    """All settings. Lengths of time are `_s`, rates `_hz`; every `max_…` bounds a table or a queue."""

    model_config = SettingsConfigDict(env_prefix="UDPRISM_", extra="ignore", frozen=True)

    udp: HostPort = Field("127.0.0.1:12345", description="Where the colour server listens.")
    http: HostPort = Field("127.0.0.1:8000", description="Where the page and the REST API are served.")
    clients: int = Field(10, ge=0, le=100_000, description="Hosted clients made on a first start.")
    rate_hz: float = Field(
        10.0, ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Datagrams a second for sessions that ask for no rate."
    )
    engine: Literal["batch", "threads"] = Field("batch", description="How the colour server sends.")
    data: Path | None = Field(None, description="Directory for what is kept; default: the user's data directory.")
    ephemeral: bool = Field(False, description="Keep nothing.")
    token: str | None = Field(None, description="Access token of the web app; made where one is needed and none given.")
    allow_host: Annotated[list[str], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Further Host names the page may be reached by."
    )
    allow_target: Annotated[list[Network], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Networks beyond this machine's own that hosted clients may ask."
    )
    udp_trust: Annotated[list[Network], NoDecode, BeforeValidator(_commas)] = Field(
        default=[], description="Networks served without a token when bound beyond loopback."
    )
    udp_lan_lease_s: float = Field(3600, gt=0, description="Lease of an on-link client after its last datagram.")
    udp_lease_s: float = Field(60, gt=0, description="Lease of any other client after its last datagram.")
    log_json: bool = Field(False, description="Log as JSON lines.")

    max_clients: int = Field(10_000, ge=1, le=100_000, description="Hosted clients.")
    max_sessions: int = Field(
        24_000, ge=1, le=200_000, description="Sessions of the colour server, hosted ones included."
    )
    max_remote_sessions: int = Field(10_000, ge=0, description="Sessions from beyond loopback.")
    max_responses: int = Field(16, ge=1, description="Responses kept for each session.")
    max_viewers: int = Field(200, ge=1, description="Browser tabs on the live feed.")
    max_taps: int = Field(64, ge=1, description="Websockets on single clients' streams.")
    tap_queue_datagrams: int = Field(1024, ge=1, description="Datagrams that wait for one such websocket.")
    link_queue_datagrams: int = Field(65_536, ge=1, description="Datagrams that the link model may hold back at once.")
    max_fate_reports: int = Field(65_536, ge=1, description="Batches of fates waiting for the in-process ledger.")

    history_datagrams: int = Field(256, ge=64, le=4096, description="Datagrams kept for each client; a power of two.")
    history_payload_bytes: int = Field(24, ge=24, le=1472, description="Bytes of each kept datagram.")
    history_over_time: bool = Field(
        True, description="Keep rate, loss and delay of each client over hours (about 6 KiB per client)."
    )
    loss_after_s: float = Field(1.0, gt=0, description="Age at which a hole in the sequence counts as lost.")
    loss_after_arrivals: int = Field(64, ge=1, le=1024, description="Later arrivals after which a hole counts as lost.")
    silent_after_s: float = Field(2.0, gt=0, description="Shortest silence called so; never less than three periods.")

    receive_buffer_bytes: int = Field(4 << 20, ge=4096, description="SO_RCVBUF asked for by the server's socket.")
    client_buffer_bytes: int = Field(256 << 10, ge=2048, description="SO_RCVBUF asked for by each hosted client.")
    coalesce_ms: float = Field(6.0, ge=0, le=100, description="Wait of the pool between two polls of its sockets.")
    frame_hz: float = Field(25.0, gt=0, le=120, description="Live frames made a second, at most.")

    @property
    def udp_address(self) -> tuple[str, int]:
        """Host and port of the colour server."""
        return split_host_port(self.udp)

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the web app."""
        return split_host_port(self.http)
