"""Decides who is served and on what conditions, so that no forged `connect` makes the server a weapon.

Three classes of source. Loopback is served at once; a neighbour (on-link) within bounds; everyone else first has to
show, by sending back a token, that it is where it says (RFC 9000 sections 8.1.2 and 8.1.4 do the same for QUIC).
Nothing is stored for an address until its token has come back, and the limiters are tables of a fixed size.
"""

from __future__ import annotations

from array import array
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from hmac import compare_digest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, TypeAlias

from udprism.columns.types import NEVER_NS, NS_PER_S, Address
from udprism.serving.commands import RETRY_BYTES, Connect, encode_retry

SourceClass: TypeAlias = Literal["loopback", "on-link", "remote"]
_IP: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

MAX_AMPLIFICATION: Final = 3
"""Bytes out per byte in, to an address that has not proven itself: RFC 9000 section 8."""
MIN_PORT: Final = 1024
BEYOND_LOOPBACK_MAX_RATE_HZ: Final = 20.0
MAX_SESSIONS_AN_ADDRESS: Final = 64
NEW_SESSIONS_PER_S_A_PREFIX: Final = 10
RETRIES_PER_S: Final = 100
_LIMITER_PLACES_BITS: Final = 14
_NETWORKS_AGE_NS: Final = NS_PER_S
"""The interfaces are not read more often."""
_MINUTE_NS: Final = 60 * NS_PER_S
_PRIVATE: Final[list[_Network]] = [
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
]
"""RFC 1918, 4193, and link-local. Spelled out because `is_private` means more, and another more in each Python."""
_LOOPBACK_BROADCAST: Final = IPv4Address("127.255.255.255")
_RESERVED: Final = IPv4Network("240.0.0.0/4")  # 255.255.255.255 is in it


@dataclass(frozen=True, slots=True)
class Serve:
    """Start the stream. A lease of None never ends; a rate cap of None is the wire's own, 1000 Hz."""

    source_class: SourceClass
    lease_ns: int | None
    max_rate_hz: float | None


@dataclass(frozen=True, slots=True)
class Retry:
    """Send these bytes, and keep nothing."""

    payload: bytes


Refusal: TypeAlias = Literal[
    "forbidden-destination", "sessions-full", "address-full", "prefix-rate", "retry-rate", "amplification"
]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Send nothing; count the reason."""

    reason: Refusal


Decision: TypeAlias = Serve | Retry | Refuse


class Limiter:
    """Token buckets by hash in a table of fixed size: `per_s` a second and a burst of as many, for each key.

    Keys that share a place share a bucket: never more is let through than promised, and the secret keeps a stranger
    from choosing whom to share with. GCRA (ITU-T I.371): one instant a place, at which the bucket is full again.
    """

    def __init__(self, per_s: int, secret: int, places_bits: int = _LIMITER_PLACES_BITS) -> None:
        self._interval_ns = NS_PER_S // per_s
        self._depth_ns = self._interval_ns * (per_s - 1)
        self._multiplier = secret | 1
        self._shift = 64 - places_bits
        self._full_at_ns = array("q", bytes(8 << places_bits))

    def allow(self, key: int, now_ns: int) -> bool:
        """Take one token from the key's bucket, if there is one. key: at most 64 bits."""
        place = (key * self._multiplier & 0xFFFF_FFFF_FFFF_FFFF) >> self._shift
        full_at_ns = max(self._full_at_ns[place], now_ns)
        if full_at_ns - now_ns > self._depth_ns:
            return False
        self._full_at_ns[place] = full_at_ns + self._interval_ns
        return True


class Admission:
    """Decides on each `connect` from an address that has no session. Server thread only.

    networks: reads the subnets of this machine's interfaces; called again, at most once a second, when a private source
    is in none of those that it gave last. trusted: served as if on-link. own_ports: never streamed to,
    wherever they are, so that two servers are never joined. beyond_loopback: whether the server is bound so; where it
    is not, no source is on-link.
    """

    def __init__(
        self,
        key: bytes,
        *,
        networks: Callable[[], Iterable[_Network]] = list,
        trusted: Iterable[str] = (),
        own_ports: Collection[int],
        beyond_loopback: bool,
        lan_lease_ns: int,
        lease_ns: int,
        max_remote_sessions: int,
    ) -> None:
        self._key = key
        self._read_networks = networks
        self._networks_read_ns = -NEVER_NS
        self._learn_networks()
        self._trusted = [ip_network(text, strict=False) for text in trusted]
        self._own_ports = frozenset(own_ports)
        self._beyond_loopback = beyond_loopback
        self._lan_lease_ns = lan_lease_ns
        self._lease_ns = lease_ns
        self._max_remote_sessions = max_remote_sessions
        secret = int.from_bytes(blake2s(b"limiter", key=key, digest_size=8).digest())
        self._new_sessions = Limiter(NEW_SESSIONS_PER_S_A_PREFIX, secret)
        self._retries = Limiter(RETRIES_PER_S, secret, places_bits=0)

    def decide(
        self,
        address: Address,
        command: Connect,
        data_length: int,
        now_ns: int,
        now_unix_ns: int,
        sessions_of_address: int,
        remote_sessions: int,
    ) -> Decision:
        """The decision on a `connect` of `data_length` bytes from an address without a session.

        sessions_of_address: how many the IP address has. remote_sessions: how many there are from beyond loopback. A
        renewal is not asked about: it keeps the conditions of its session.
        """
        ip = parse_ip(address[0])
        self._look_for_new_networks(ip, now_ns)
        if self.is_forbidden(ip, address[1]):
            return Refuse("forbidden-destination")
        source_class = self.classify(ip)
        if source_class == "loopback":
            return Serve("loopback", None, None)
        if remote_sessions >= self._max_remote_sessions:
            return Refuse("sessions-full")
        if sessions_of_address >= MAX_SESSIONS_AN_ADDRESS:
            return Refuse("address-full")
        if source_class == "remote" and not self._is_proven(ip, address[1], command.token, now_unix_ns):
            return self._retry(ip, address[1], data_length, now_ns, now_unix_ns)
        if not self._new_sessions.allow(_prefix(ip), now_ns):
            return Refuse("prefix-rate")
        lease_ns = self._lan_lease_ns if source_class == "on-link" else self._lease_ns
        return Serve(source_class, lease_ns, BEYOND_LOOPBACK_MAX_RATE_HZ)

    def classify(self, ip: _IP) -> SourceClass:
        """Which of the three classes a source is in."""
        if ip.is_loopback:
            return "loopback"
        if not self._beyond_loopback:
            return "remote"
        if _is_in(ip, self._trusted) or (_is_in(ip, _PRIVATE) and _is_in(ip, self._networks)):
            return "on-link"
        return "remote"

    def is_forbidden(self, ip: _IP, port: int) -> bool:
        """Whether no stream may ever go there."""
        return (
            port < MIN_PORT
            or port in self._own_ports
            or ip.is_multicast
            or ip.is_unspecified
            or ip in self._broadcasts
            or ip in _RESERVED
        )

    def _look_for_new_networks(self, ip: _IP, now_ns: int) -> None:
        """This machine may have got another address since the networks were read, and with it new neighbours."""
        if not self._beyond_loopback or now_ns - self._networks_read_ns < _NETWORKS_AGE_NS:
            return
        if _is_in(ip, _PRIVATE) and not _is_in(ip, self._networks):
            self._networks_read_ns = now_ns
            self._learn_networks()

    def _learn_networks(self) -> None:
        self._networks = list(self._read_networks())
        self._broadcasts = _broadcasts_of(self._networks)

    def _retry(self, ip: _IP, port: int, data_length: int, now_ns: int, now_unix_ns: int) -> Retry | Refuse:
        if data_length * MAX_AMPLIFICATION < RETRY_BYTES:
            return Refuse("amplification")
        if not self._retries.allow(0, now_ns):
            return Refuse("retry-rate")
        return Retry(encode_retry(self._token(ip, port, now_unix_ns // _MINUTE_NS)))

    def _is_proven(self, ip: _IP, port: int, token: str | None, now_unix_ns: int) -> bool:
        """Whether the token is of this minute or the last, and of this very address."""
        if token is None:
            return False
        minute = now_unix_ns // _MINUTE_NS
        return any(compare_digest(token, self._token(ip, port, epoch)) for epoch in (minute, minute - 1))

    def _token(self, ip: _IP, port: int, minute: int) -> str:
        message = minute.to_bytes(8, signed=True) + port.to_bytes(2) + ip.packed
        digest = blake2s(message, key=self._key, digest_size=8).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@lru_cache(maxsize=1024)
def parse_ip(host: str) -> _IP:
    """The address as one object for one host: an IPv4 address that came in on an IPv6 socket is an IPv4 address."""
    ip = ip_address(host)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def _is_in(ip: _IP, networks: list[_Network]) -> bool:
    return any(ip in network for network in networks)


def _broadcasts_of(networks: Iterable[_Network]) -> frozenset[_IP]:
    """The subnets' own broadcast addresses; a subnet of one or two addresses has none (RFC 3021)."""
    directed = {n.broadcast_address for n in networks if isinstance(n, IPv4Network) and n.prefixlen < 31}
    return frozenset(directed | {_LOOPBACK_BROADCAST})


def _prefix(ip: _IP) -> int:
    """The /24 or /56 that the address is in, as a key of less than 64 bits; what one user can have is one prefix."""
    if isinstance(ip, IPv4Address):
        return int(ip) >> 8
    return 1 << 60 | int(ip) >> 72
