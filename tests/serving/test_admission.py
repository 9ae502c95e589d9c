"""Who is served: three classes of source, tokens, limits; and a world of forged sources that gets nothing from it."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from udprism.columns.types import NS_PER_S
from udprism.serving import commands
from udprism.serving.admission import Admission, Decision, Limiter, Refuse, Retry, Serve, parse_ip
from udprism.serving.commands import Connect

NOW_NS = 5_000 * NS_PER_S
UNIX_NS = 1_735_689_600 * NS_PER_S
OWN_PORT = 12345
NETWORKS = [
    ip_network(text) for text in ("127.0.0.0/8", "192.168.7.0/24", "203.0.113.0/24", "fe80::/64", "fd00:7::/64")
]
LAN_LEASE_NS, LEASE_NS = 3600 * NS_PER_S, 60 * NS_PER_S


def admission(**changes: object) -> Admission:
    arguments: dict[str, object] = {
        "networks": lambda: NETWORKS,
        "own_ports": {OWN_PORT},
        "beyond_loopback": True,
        "lan_lease_ns": LAN_LEASE_NS,
        "lease_ns": LEASE_NS,
        "max_remote_sessions": 10_000,
    }
    return Admission(b"k" * 32, **{**arguments, **changes})  # type: ignore[arg-type]


def decide(
    door: Admission,
    host: str,
    port: int = 40_000,
    *,
    token: str | None = None,
    now_ns: int = NOW_NS,
    unix_ns: int = UNIX_NS,
    of_address: int = 0,
    remote: int = 0,
) -> Decision:
    command = Connect(token=token)
    length = len(commands.encode_connect(command))
    return door.decide((host, port), command, length, now_ns, unix_ns, of_address, remote)


def token_for(door: Admission, host: str, port: int = 40_000, *, unix_ns: int = UNIX_NS) -> str:
    decision = decide(door, host, port, unix_ns=unix_ns)
    assert isinstance(decision, Retry)
    return commands.parse_retry(decision.payload)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_served_for_ever_at_any_rate(host: str) -> None:
    door = admission(max_remote_sessions=0)
    for count in range(1000):
        assert decide(door, host, of_address=count, remote=10**6) == Serve("loopback", None, None)


@pytest.mark.parametrize("host", ["192.168.7.20", "::ffff:192.168.7.20", "fe80::1", "fe80::1%eth0", "fd00:7::5"])
def test_a_neighbour_is_served_within_bounds(host: str) -> None:
    assert decide(admission(), host) == Serve("on-link", LAN_LEASE_NS, 20.0)


@pytest.mark.parametrize("host", ["192.168.8.20", "10.0.0.1", "203.0.113.9", "8.8.8.8", "fd00:8::5", "2606:4700::1"])
def test_everyone_else_gets_17_bytes_first(host: str) -> None:
    door = admission()
    decision = decide(door, host)
    assert isinstance(decision, Retry)
    assert len(decision.payload) == 17
    token = commands.parse_retry(decision.payload)
    assert decide(door, host, token=token) == Serve("remote", LEASE_NS, 20.0)


def test_a_public_address_on_our_own_subnet_is_remote_unless_trusted() -> None:
    assert isinstance(decide(admission(), "203.0.113.9"), Retry)
    assert decide(admission(trusted=["203.0.113.0/24"]), "203.0.113.9") == Serve("on-link", LAN_LEASE_NS, 20.0)


def test_nobody_is_on_link_when_bound_to_loopback() -> None:
    assert isinstance(decide(admission(beyond_loopback=False), "192.168.7.20"), Retry)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 0),
        ("127.0.0.1", 1023),
        ("127.0.0.1", OWN_PORT),
        ("8.8.8.8", 53),
        ("8.8.8.8", OWN_PORT),
        ("224.0.0.1", 40_000),
        ("239.255.255.250", 40_000),
        ("ff02::1", 40_000),
        ("255.255.255.255", 40_000),
        ("127.255.255.255", 40_000),
        ("192.168.7.255", 40_000),
        ("::ffff:192.168.7.255", 40_000),
        ("240.1.2.3", 40_000),
        ("0.0.0.0", 40_000),
        ("::", 40_000),
    ],
)
def test_some_destinations_are_never_streamed_to(host: str, port: int) -> None:
    assert decide(admission(), host, port) == Refuse("forbidden-destination")


def test_the_first_port_above_the_privileged_ones_is_served() -> None:
    assert isinstance(decide(admission(), "127.0.0.1", 1024), Serve)


def test_a_token_is_good_for_its_own_address_and_port_alone() -> None:
    door = admission()
    token = token_for(door, "8.8.8.8", 40_000)
    assert isinstance(decide(door, "8.8.8.8", 40_001, token=token), Retry)
    assert isinstance(decide(door, "8.8.8.9", 40_000, token=token), Retry)
    assert isinstance(decide(door, "8.8.8.8", 40_000, token=token), Serve)


def test_a_token_of_another_key_is_answered_with_a_new_one() -> None:
    before_restart = Admission(
        b"another key",
        own_ports=(),
        beyond_loopback=True,
        lan_lease_ns=1,
        lease_ns=1,
        max_remote_sessions=1,
    )
    door = admission()
    decision = decide(door, "8.8.8.8", token=token_for(before_restart, "8.8.8.8"))
    assert isinstance(decision, Retry)
    assert isinstance(decide(door, "8.8.8.8", token=commands.parse_retry(decision.payload)), Serve)


@given(st.integers(0, 59_999_999_999), st.integers(0, 200 * NS_PER_S))
def test_a_token_lives_through_this_minute_and_the_next(into_the_minute_ns: int, age_ns: int) -> None:
    door = admission()
    start_unix_ns = UNIX_NS + into_the_minute_ns  # UNIX_NS begins a minute
    token = token_for(door, "8.8.8.8", unix_ns=start_unix_ns)
    decision = decide(door, "8.8.8.8", token=token, unix_ns=start_unix_ns + age_ns)
    assert isinstance(decision, Serve) == (into_the_minute_ns + age_ns < 120 * NS_PER_S)


def test_a_token_from_the_future_is_not_good() -> None:
    door = admission()
    token = token_for(door, "8.8.8.8", unix_ns=UNIX_NS + 60 * NS_PER_S)
    assert isinstance(decide(door, "8.8.8.8", token=token, unix_ns=UNIX_NS), Retry)


def test_sessions_from_beyond_loopback_are_capped() -> None:
    door = admission(max_remote_sessions=3)
    assert isinstance(decide(door, "192.168.7.20", remote=2), Serve)
    assert decide(door, "192.168.7.20", remote=3) == Refuse("sessions-full")
    assert decide(door, "8.8.8.8", remote=3) == Refuse("sessions-full")
    assert isinstance(decide(door, "127.0.0.1", remote=3), Serve)


def test_one_address_has_at_most_64_sessions() -> None:
    assert isinstance(decide(admission(), "192.168.7.20", of_address=63), Serve)
    assert decide(admission(), "192.168.7.20", of_address=64) == Refuse("address-full")


@pytest.mark.parametrize(
    ("hosts", "stranger"),
    [
        ([f"192.168.7.{n}" for n in range(1, 16)], "fd00:7::1"),
        ([f"fd00:7::{n}" for n in range(1, 16)], "192.168.7.1"),
    ],
)
def test_a_prefix_gets_ten_new_sessions_a_second_and_others_do_not_feel_it(hosts: list[str], stranger: str) -> None:
    door = admission()
    decisions = [decide(door, host) for host in hosts]
    assert all(isinstance(decision, Serve) for decision in decisions[:10])
    assert decisions[10:] == [Refuse("prefix-rate")] * 5
    assert isinstance(decide(door, stranger), Serve)
    assert isinstance(decide(door, hosts[0], now_ns=NOW_NS + NS_PER_S // 10), Serve)
    later = [decide(door, host, now_ns=NOW_NS + 3 * NS_PER_S) for host in hosts]
    assert sum(isinstance(decision, Serve) for decision in later) == 10


def test_a_flood_of_forged_connects_gets_a_hundred_retries_a_second_in_all() -> None:
    door = admission()
    answers = Counter(type(decide(door, f"8.{n >> 8}.{n & 255}.9")) for n in range(1000))
    assert answers == {Retry: 100, Refuse: 900}
    assert decide(door, "9.9.9.9") == Refuse("retry-rate")
    assert isinstance(decide(door, "9.9.9.9", now_ns=NOW_NS + NS_PER_S // 100), Retry)


def test_a_flood_of_retries_does_not_keep_out_who_has_a_token() -> None:
    door = admission()
    token = token_for(door, "9.9.9.9")
    for n in range(1000):
        decide(door, f"8.{n >> 8}.{n & 255}.9")
    assert isinstance(decide(door, "9.9.9.9", token=token), Serve)


def test_a_retry_is_never_more_than_three_times_what_came_in() -> None:
    door = admission()
    for length in range(12):
        decision = door.decide(("8.8.8.8", 40_000), Connect(), length, NOW_NS, UNIX_NS, 0, 0)
        assert decision == Refuse("amplification") if length * 3 < 17 else isinstance(decision, Retry)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, NS_PER_S // 4)), max_size=60), st.integers(1, 20))
def test_a_limiter_lets_through_what_a_plain_token_bucket_would(steps: list[tuple[int, int]], per_s: int) -> None:
    limiter = Limiter(per_s, secret=0x9E3779B97F4A7C15)
    interval_ns = NS_PER_S // per_s
    debt_ns, seen_ns, now_ns = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), NOW_NS), NOW_NS
    for key, pause_ns in steps:
        now_ns += pause_ns
        debt_ns[key] = max(0, debt_ns[key] - (now_ns - seen_ns[key]))
        seen_ns[key] = now_ns
        has_room = debt_ns[key] + interval_ns <= per_s * interval_ns
        assert limiter.allow(key, now_ns) == has_room
        debt_ns[key] += interval_ns if has_room else 0


@given(st.lists(st.integers(0, 2**63), min_size=1, max_size=300))
def test_a_limiter_of_one_place_never_lets_more_through_than_promised(keys: list[int]) -> None:
    limiter = Limiter(5, secret=1, places_bits=0)
    assert sum(limiter.allow(key, NOW_NS) for key in keys) == min(5, len(keys))


def test_neighbour_of_an_address_that_came_after_the_start_is_served() -> None:
    networks = [*NETWORKS]
    door = admission(networks=lambda: networks)
    assert isinstance(decide(door, "10.9.0.7"), Retry)
    networks.append(ip_network("10.9.0.0/24"))
    assert isinstance(decide(door, "10.9.0.7"), Retry), "the interfaces are read once a second at most"
    assert decide(door, "10.9.0.7", now_ns=NOW_NS + NS_PER_S) == Serve("on-link", LAN_LEASE_NS, 20.0)
    assert decide(door, "10.9.0.255", now_ns=NOW_NS + NS_PER_S) == Refuse("forbidden-destination")


def test_interfaces_are_not_read_for_sources_that_are_no_neighbours_in_any_case() -> None:
    read: list[int] = []
    door = admission(networks=lambda: read.append(1) or NETWORKS)
    for second, host in enumerate(("8.8.8.8", "192.168.7.9", "127.0.0.1", "2001:db8::1")):
        decide(door, host, now_ns=NOW_NS + second * NS_PER_S)
    assert len(read) == 1


def test_an_ipv4_address_is_the_same_host_on_an_ipv6_socket() -> None:
    assert parse_ip("::ffff:8.8.8.8") == parse_ip("8.8.8.8")


class ForgedWorld(RuleBasedStateMachine):
    """An attacker who can forge any source but hears only what is sent to its own address, beside an honest client."""

    ATTACKER, HONEST = ("198.18.0.1", 40_000), ("198.18.5.1", 41_000)
    VICTIMS = tuple((f"8.8.{n}.8", 2000 + n) for n in range(4))

    def __init__(self) -> None:
        super().__init__()
        self.door = admission(networks=list)
        self.now_ns, self.unix_ns = NOW_NS, UNIX_NS
        self.bytes_in: Counter[tuple[str, int]] = Counter()
        self.bytes_out: Counter[tuple[str, int]] = Counter()
        self.heard: dict[tuple[str, int], str] = {}
        self.served: set[tuple[str, int]] = set()

    def ask(self, address: tuple[str, int], token: str | None) -> Decision:
        command = Connect(token=token)
        length = len(commands.encode_connect(command))
        self.bytes_in[address] += length
        decision = self.door.decide(address, command, length, self.now_ns, self.unix_ns, 0, len(self.served))
        if isinstance(decision, Retry):
            self.bytes_out[address] += len(decision.payload)
            self.heard[address] = commands.parse_retry(decision.payload)
        elif isinstance(decision, Serve):
            self.served.add(address)
        return decision

    @rule(victim=st.sampled_from(VICTIMS))
    def forge_a_bare_connect(self, victim: tuple[str, int]) -> None:
        self.ask(victim, None)

    @rule(victim=st.sampled_from(VICTIMS), token=st.text("ABab01_-", min_size=11, max_size=11))
    def forge_a_guess(self, victim: tuple[str, int], token: str) -> None:
        self.ask(victim, token)

    @rule()
    def ask_for_an_own_token(self) -> None:
        self.ask(self.ATTACKER, None)

    @precondition(lambda self: self.ATTACKER in self.heard)
    @rule(victim=st.sampled_from(VICTIMS))
    def forge_with_the_own_token(self, victim: tuple[str, int]) -> None:
        self.ask(victim, self.heard[self.ATTACKER])

    @rule(pause_ns=st.integers(0, 90 * NS_PER_S))
    def wait(self, pause_ns: int) -> None:
        self.now_ns += pause_ns
        self.unix_ns += pause_ns

    @rule()
    def an_honest_client_gets_in_a_second_later(self) -> None:
        self.wait(NS_PER_S)
        decision = self.ask(self.HONEST, None)
        assert isinstance(decision, Retry)
        assert isinstance(self.ask(self.HONEST, commands.parse_retry(decision.payload)), Serve)

    @invariant()
    def no_victim_is_streamed_to(self) -> None:
        assert self.served <= {self.ATTACKER, self.HONEST}

    @invariant()
    def nobody_gets_more_than_three_times_what_came_in_its_name(self) -> None:
        for address, count in self.bytes_out.items():
            assert count <= 3 * self.bytes_in[address]


TestForgedWorld = ForgedWorld.TestCase
