"""The client's side of the wire, without a socket: asking, proving, falling back, reporting, beginning again."""

from __future__ import annotations

import contextlib
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FakeClock
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.errors import WireError
from udprism.ledger.fates import DUPLICATE, REORDERED
from udprism.serving.clients import Mode
from udprism.serving.commands import Connect, encode_connect, encode_retry, parse_command
from udprism.serving.conversation import SILENT_NS, Conversation, Ended, ReceivedColour, Send
from udprism.serving.rules import UNKNOWN_PERIOD_SILENT_NS
from udprism.wire import measured as wire

SESSION = 0x01020304
TOKEN = "AbCd_-01234"
MEASURED = b"connect v=1"
ANYTHING = Connect()


def conversation(mode: Mode = Mode.AUTO, request: Connect = ANYTHING, *, loopback: bool = True) -> Conversation:
    return Conversation(mode, request, loopback=loopback, draw=lambda: 1.0)


def colour(sequence: int, clock: FakeClock, session_id: int = SESSION) -> bytes:
    return wire.encode_colour(wire.Colour(session_id, sequence, clock.unix_ns(), b"\xff\x00\x00"))


def hear(talk: Conversation, data: bytes, clock: FakeClock) -> object:
    return talk.receive(data, clock.unix_ns(), clock.now_ns())


def at_timer(talk: Conversation, clock: FakeClock) -> bytes | None:
    """What it sends when its timer comes."""
    clock.advance_ns(max(0, talk.timer_ns - clock.now_ns()))
    return talk.on_timer(clock.now_ns(), clock.unix_ns())


def live(clock: FakeClock, mode: Mode = Mode.AUTO) -> Conversation:
    """A conversation that has heard its first colour: number 0 of a measured stream, or a plain one."""
    talk = conversation(mode)
    talk.start(clock.now_ns())
    hear(talk, b"red" if mode == Mode.PLAIN else colour(0, clock), clock)
    return talk


def test_it_asks_for_the_measured_stream_twice_a_second_apart_then_for_the_plain_one(clock: FakeClock) -> None:
    talk = conversation()
    began_ns = clock.now_ns()
    assert talk.start(began_ns) == MEASURED
    assert at_timer(talk, clock) == MEASURED
    assert clock.now_ns() == began_ns + NS_PER_S
    assert not talk.any_port
    assert at_timer(talk, clock) == b"connect"
    assert clock.now_ns() == began_ns + 2 * NS_PER_S
    assert talk.any_port


def test_from_then_on_it_asks_for_both_at_growing_distances(clock: FakeClock) -> None:
    talk = conversation(loopback=False)
    talk.start(clock.now_ns())
    asked, waits_ns = [], []
    for _ in range(12):
        before_ns = clock.now_ns()
        asked.append(at_timer(talk, clock))
        waits_ns.append(clock.now_ns() - before_ns)
    assert set(asked[1:]) == {b"connect", MEASURED}
    assert waits_ns == sorted(waits_ns)
    assert waits_ns[-1] == 30 * NS_PER_S


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.PLAIN])
def test_bare_connects_that_nobody_answers_are_at_least_12_s_apart_and_further_each_time(
    clock: FakeClock, mode: Mode
) -> None:
    talk = conversation(mode)
    bare_at_ns = [clock.now_ns()] if talk.start(clock.now_ns()) == b"connect" else []
    while len(bare_at_ns) < 4:
        if at_timer(talk, clock) == b"connect":
            bare_at_ns.append(clock.now_ns())
    gaps_s = [(after - before) / NS_PER_S for before, after in pairwise(bare_at_ns)]
    assert gaps_s[0] >= 12
    assert gaps_s[1] >= 24
    assert gaps_s[2] >= 48


def test_what_is_wished_for_goes_with_the_measured_connect_only(clock: FakeClock) -> None:
    talk = conversation(request=Connect(rate_hz=0.2, colours=3, name="north"))
    assert parse_command(talk.start(clock.now_ns())) == Connect(measured=True, rate_hz=0.2, colours=3, name="north")
    at_timer(talk, clock)
    assert at_timer(talk, clock) == b"connect"


def test_plain_mode_begins_with_the_bare_connect_on_any_port(clock: FakeClock) -> None:
    talk = conversation(Mode.PLAIN)
    assert talk.any_port
    assert talk.start(clock.now_ns()) == b"connect"
    assert at_timer(talk, clock) == b"connect"


def test_a_host_that_refuses_is_no_reason_to_fall_back(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    for _ in range(6):
        talk.refused(clock.now_ns())
        assert at_timer(talk, clock) == MEASURED
    assert not talk.any_port


def test_a_retry_is_answered_at_once_with_its_token_and_once_only(clock: FakeClock) -> None:
    talk = conversation(request=Connect(name="north"))
    talk.start(clock.now_ns())
    event = hear(talk, encode_retry(TOKEN), clock)
    assert isinstance(event, Send)
    assert parse_command(event.data) == Connect(measured=True, name="north", token=TOKEN)
    with pytest.raises(WireError, match="retry-unasked"):
        hear(talk, encode_retry(TOKEN), clock)
    assert parse_command(at_timer(talk, clock) or b"") == Connect(measured=True, name="north", token=TOKEN)


def test_a_new_token_after_an_old_one_is_taken(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    hear(talk, encode_retry(TOKEN), clock)
    event = hear(talk, encode_retry(TOKEN[::-1]), clock)
    assert event == Send(encode_connect(Connect(measured=True, token=TOKEN[::-1])))


def test_a_retry_in_the_midst_of_a_stream_is_nothing(clock: FakeClock) -> None:
    with pytest.raises(WireError, match="retry-unasked"):
        hear(live(clock), encode_retry(TOKEN), clock)


def test_a_measured_colour_tells_everything(clock: FakeClock) -> None:
    talk = live(clock)
    data = colour(1, clock)
    sent_unix_ns = clock.unix_ns()
    clock.advance_ns(3 * NS_PER_MS)
    assert hear(talk, data, clock) == ReceivedColour(
        (255, 0, 0), clock.unix_ns(), 1, flags=1, sent_at_unix_ns=sent_unix_ns, delay_ns=3 * NS_PER_MS
    )


def test_delay_is_unknown_where_no_clock_is_shared(clock: FakeClock) -> None:
    talk = conversation(loopback=False)
    talk.start(clock.now_ns())
    heard = hear(talk, colour(0, clock), clock)
    assert isinstance(heard, ReceivedColour)
    assert heard.delay_ns is None
    assert heard.sent_at_unix_ns == clock.unix_ns()


def test_a_plain_colour_tells_its_colour_and_nothing_that_it_cannot(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    assert hear(talk, b"orange\n", clock) == ReceivedColour((255, 165, 0), clock.unix_ns())
    figures = talk.figures(clock.now_ns())
    assert (figures.pop("received"), figures.pop("plain"), figures.pop("unheard_s")) == (1, 1, 0)
    assert set(figures.values()) == {None}


def test_it_reports_once_a_second_what_it_saw(clock: FakeClock) -> None:
    talk = live(clock)
    for sequence in (1, 2, 5, 4, 4):
        clock.advance_ns(100 * NS_PER_MS)
        hear(talk, colour(sequence, clock), clock)
    report = wire.decode_report(at_timer(talk, clock) or b"")
    assert (report.session_id, report.sequence, report.sent_at_unix_ns) == (SESSION, 0, clock.unix_ns())
    assert (report.highest, report.received, report.reordered, report.duplicates) == (5, 5, 1, 1)
    began_ns = clock.now_ns()
    report = wire.decode_report(at_timer(talk, clock) or b"")
    assert clock.now_ns() == began_ns + NS_PER_S
    assert (report.sequence, report.lost) == (1, 1)


def test_late_reordered_and_duplicate_datagrams_are_told_apart(clock: FakeClock) -> None:
    talk = live(clock)
    flags = []
    for sequence in (3, 2, 2):
        heard = hear(talk, colour(sequence, clock), clock)
        assert isinstance(heard, ReceivedColour)
        assert heard.flags is not None
        flags.append(heard.flags & (REORDERED | DUPLICATE))
    assert flags[:2] == [0, REORDERED]
    assert flags[2] & DUPLICATE


def test_the_echo_of_a_report_gives_the_round_trip(clock: FakeClock) -> None:
    talk = live(clock)
    report = at_timer(talk, clock)
    assert report is not None
    clock.advance_ns(7 * NS_PER_MS)
    assert hear(talk, wire.acknowledge(report), clock) is None
    assert talk.figures(clock.now_ns())["rtt_ms"] == 7.0


def test_echoes_keep_a_slow_stream_alive(clock: FakeClock) -> None:
    talk = live(clock)
    for _ in range(20):
        report = at_timer(talk, clock)
        assert report is not None
        wire.decode_report(report)
        hear(talk, wire.acknowledge(report), clock)


def test_silence_makes_it_ask_again_and_the_session_goes_on(clock: FakeClock) -> None:
    talk = live(clock)
    began_ns = clock.now_ns()
    sent = at_timer(talk, clock)
    while sent != MEASURED:
        wire.decode_report(sent or b"")
        sent = at_timer(talk, clock)
    assert SILENT_NS < clock.now_ns() - began_ns <= SILENT_NS + NS_PER_S
    heard = hear(talk, colour(40, clock), clock)
    assert isinstance(heard, ReceivedColour)
    assert talk.figures(clock.now_ns())["received"] == 2


def test_a_refusal_in_the_midst_of_a_stream_makes_it_ask_again_soon(clock: FakeClock) -> None:
    talk = live(clock)
    talk.refused(clock.now_ns())
    assert talk.timer_ns <= clock.now_ns() + NS_PER_S
    assert at_timer(talk, clock) == MEASURED
    assert not talk.wants_new_socket


def test_what_cannot_leave_is_said_again_from_a_new_socket_and_is_no_reason_to_fall_back(clock: FakeClock) -> None:
    talk = live(clock)
    for _ in range(20):
        talk.failed("Network is unreachable", clock.now_ns())
        before_ns = clock.now_ns()
        assert at_timer(talk, clock) == MEASURED
        assert clock.now_ns() - before_ns <= 4 * NS_PER_S
        assert talk.wants_new_socket
    assert not talk.any_port
    assert at_timer(talk, clock) == MEASURED
    assert not talk.wants_new_socket


def test_a_plain_stream_s_client_asks_for_the_measured_one_again_after_a_change_of_the_network(
    clock: FakeClock,
) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    while at_timer(talk, clock) != b"connect":
        pass
    hear(talk, b"red", clock)
    assert talk.any_port
    talk.failed("Invalid argument", clock.now_ns())
    assert at_timer(talk, clock) == MEASURED
    assert talk.wants_new_socket
    assert not talk.any_port


def test_a_plain_stream_that_a_lost_connect_brought_is_exchanged_for_the_measured_one(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    while at_timer(talk, clock) != b"connect":
        pass
    said = []
    for _ in range(100):
        hear(talk, b"red", clock)
        said.append(at_timer(talk, clock) if talk.timer_ns <= clock.advance(1) else None)
    asked = [data for data in said if data is not None]
    assert asked == [MEASURED] * 3, "and no more, because this server knows nothing else"
    hear(talk, colour(0, clock), clock)
    assert talk.session_id == SESSION
    assert wire.decode_report(at_timer(talk, clock) or b"").received == 1
    with pytest.raises(WireError, match="other-session"):
        hear(talk, b"red", clock)


def test_a_server_that_answers_the_measured_connect_with_names_is_not_asked_again(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    for _ in range(100):
        hear(talk, b"red", clock)
        assert talk.timer_ns > clock.advance(1)


def test_one_connect_that_was_answered_is_enough_for_a_server_with_one_colour_in_ten_seconds(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    for _ in range(30):
        for _ in range(10):
            clock.advance(1)
            if talk.timer_ns <= clock.now_ns():
                assert talk.on_timer(clock.now_ns(), clock.unix_ns()) is None
        hear(talk, b"red", clock)
        assert talk.is_live


def test_a_plain_stream_s_period_is_learned_from_what_comes(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    for _ in range(2):
        clock.advance(20)
        hear(talk, b"red", clock)
    began_ns = clock.now_ns()
    while (sent := at_timer(talk, clock)) is None:
        pass
    assert sent == b"connect"
    assert 3 * 20 * NS_PER_S < clock.now_ns() - began_ns < 4 * 20 * NS_PER_S


def test_a_fast_plain_stream_that_hesitated_once_is_not_slow_for_ever(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    clock.advance(20)
    for _ in range(100):
        hear(talk, b"red", clock)
        clock.advance(0.1)
    hear(talk, b"red", clock)
    began_ns = clock.now_ns()
    while at_timer(talk, clock) is None:
        pass
    assert clock.now_ns() - began_ns < 4 * NS_PER_S


def test_a_plain_stream_that_stops_after_its_first_colour_is_asked_for_again(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    began_ns = clock.now_ns()
    while (sent := at_timer(talk, clock)) is None:
        pass
    assert sent == b"connect"
    assert UNKNOWN_PERIOD_SILENT_NS < clock.now_ns() - began_ns <= UNKNOWN_PERIOD_SILENT_NS + NS_PER_S


def test_a_session_that_may_live_on_is_not_ended_by_a_bare_connect_before_eight_tries(clock: FakeClock) -> None:
    talk = live(clock)
    clock.advance(4)
    asked = []
    while b"connect" not in asked:
        asked.append(at_timer(talk, clock))
    assert asked == [MEASURED] * 8 + [b"connect"]


def test_an_echo_of_a_report_from_another_year_is_not_believed(clock: FakeClock) -> None:
    talk = live(clock)
    for sent_at_unix_ns in (0, -(2**63), clock.unix_ns() - 61 * NS_PER_S):
        report = wire.Report(SESSION, 0, sent_at_unix_ns, 0, 1, 0, 0, 0, 0, 0)
        with pytest.raises(WireError, match="stale-ack"):
            hear(talk, wire.encode_report_ack(wire.ReportAck(report)), clock)
    assert talk.figures(clock.now_ns())["rtt_ms"] is None


def test_a_server_that_asks_for_proof_without_end_is_answered_twice_a_try(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    answers = 0
    for number in range(1000):
        with contextlib.suppress(WireError):
            answers += isinstance(hear(talk, encode_retry(f"{number:011}"), clock), Send)
    assert answers == 2
    at_timer(talk, clock)
    assert isinstance(hear(talk, encode_retry(TOKEN), clock), Send)


def test_what_was_sent_in_a_silence_that_another_session_ended_is_unknown(clock: FakeClock) -> None:
    talk = live(clock)
    clock.advance(10)
    at_timer(talk, clock)
    assert talk.figures(clock.now_ns())["unheard_s"] == 10
    clock.advance(190)
    assert talk.figures(clock.now_ns())["unheard_s"] == 200
    hear(talk, colour(0, clock, session_id=99), clock)
    clock.advance(1)
    hear(talk, colour(2, clock, session_id=99), clock)
    clock.advance(2)
    at_timer(talk, clock)
    figures = talk.figures(clock.now_ns())
    assert (figures["received"], figures["lost"], figures["unheard_s"]) == (3, 1, 200), "of both sessions"


def test_what_was_sent_in_a_silence_that_the_same_session_ended_is_told_by_its_numbers(clock: FakeClock) -> None:
    talk = live(clock)
    clock.advance(10)
    at_timer(talk, clock)
    hear(talk, colour(40, clock), clock)
    clock.advance(2)
    at_timer(talk, clock)
    figures = talk.figures(clock.now_ns())
    assert (figures["received"], figures["lost"], figures["unheard_s"]) == (2, 39, 0)


def test_a_restarted_server_s_session_begins_from_nothing(clock: FakeClock) -> None:
    talk = live(clock)
    clock.advance(2)
    heard = hear(talk, colour(0, clock, session_id=99), clock)
    assert isinstance(heard, ReceivedColour)
    assert talk.session_id == 99
    assert talk.figures(clock.now_ns())["received"] == 2
    report = wire.decode_report(at_timer(talk, clock) or b"")
    assert (report.session_id, report.received) == (99, 1)


def test_it_changes_its_session_at_most_once_a_second(clock: FakeClock) -> None:
    talk = live(clock)
    with pytest.raises(WireError, match="other-session"):
        hear(talk, colour(0, clock, session_id=99), clock)
    clock.advance(1)
    hear(talk, colour(0, clock, session_id=99), clock)
    with pytest.raises(WireError, match="other-session"):
        hear(talk, colour(1, clock), clock)


def test_names_in_the_midst_of_a_measured_stream_are_a_stranger_s(clock: FakeClock) -> None:
    with pytest.raises(WireError, match="other-session"):
        hear(live(clock), b"red", clock)


@pytest.mark.parametrize("reason", wire.ByeReason)
def test_bye_ends_it(clock: FakeClock, reason: wire.ByeReason) -> None:
    talk = live(clock)
    assert hear(talk, wire.encode_bye(wire.Bye(SESSION, 0, clock.unix_ns(), reason)), clock) == Ended(reason)
    assert talk.timer_ns > clock.advance(10**6)


def test_a_bye_of_another_session_does_not(clock: FakeClock) -> None:
    talk = live(clock)
    with pytest.raises(WireError, match="other-session"):
        hear(talk, wire.encode_bye(wire.Bye(99, 0, 0, wire.ByeReason.SHUTDOWN)), clock)


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=50).map(lambda tail: b"\xc7\x01" + tail), max_size=20))
def test_no_bytes_break_it(datagrams: list[bytes]) -> None:
    clock = FakeClock()
    talk = conversation()
    talk.start(clock.now_ns())
    for data in datagrams:
        clock.advance(0.3)
        try:
            event = hear(talk, data, clock)
        except WireError:
            continue
        if isinstance(event, Ended):
            return
    assert talk.timer_ns <= clock.now_ns() + 30 * NS_PER_S


@given(st.lists(st.sampled_from(["arrive", "lose", "double", "hold"]), max_size=200))
def test_its_report_is_right_over_a_link_that_loses_doubles_and_swaps(fates: list[str]) -> None:
    clock = FakeClock()
    talk = live(clock)
    held: deque[int] = deque()
    received, duplicates, reordered, highest = {0}, 0, 0, 0

    def arrive(sequence: int) -> None:
        nonlocal duplicates, reordered, highest
        hear(talk, colour(sequence, clock), clock)
        duplicates += sequence in received
        reordered += sequence not in received and sequence < highest
        received.add(sequence)
        highest = max(highest, sequence)

    for sequence, fate in enumerate(fates, start=1):
        clock.advance_ns(NS_PER_MS)
        if fate == "hold":
            held.append(sequence)
            continue
        if fate != "lose":
            arrive(sequence)
        if fate == "double":
            arrive(sequence)
        if held:
            arrive(held.popleft())
    arrive(len(fates) + 1)
    clock.advance(2)  # a hole counts as lost a second after it was seen
    report = wire.decode_report(talk.on_timer(clock.now_ns(), clock.unix_ns()) or b"")
    assert (report.highest, report.received) == (highest, len(received))
    assert (report.duplicates, report.reordered) == (duplicates, reordered)
    assert report.lost == highest + 1 - len(received)


def test_a_stream_that_stops_is_silent_until_colours_come_and_tries_are_counted(clock: FakeClock) -> None:
    talk = live(clock)
    assert (talk.is_silent, talk.tries) == (False, 0)
    while not talk.is_silent:
        at_timer(talk, clock)
    assert talk.tries == 1
    at_timer(talk, clock)
    assert talk.tries == 2
    hear(talk, colour(1, clock), clock)
    assert (talk.is_silent, talk.tries) == (False, 0)


def test_a_client_does_not_take_what_clients_send(clock: FakeClock) -> None:
    talk = live(clock)
    report = wire.encode_report(wire.Report(SESSION, 0, clock.unix_ns(), 0, 0, 0, 0, 0, 0, 0))
    with pytest.raises(WireError) as caught:
        hear(talk, report, clock)
    assert caught.value.reason == "client-binary"


def test_after_a_change_of_the_network_the_next_try_leaves_from_a_new_socket(clock: FakeClock) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    talk.moved()
    assert at_timer(talk, clock) == MEASURED
    assert talk.wants_new_socket
    assert at_timer(talk, clock) == MEASURED
    assert not talk.wants_new_socket


def test_another_address_of_the_server_is_asked_for_a_measured_stream_without_the_other_s_token(
    clock: FakeClock,
) -> None:
    talk = conversation()
    talk.start(clock.now_ns())
    hear(talk, encode_retry(TOKEN), clock)
    assert TOKEN.encode() in (at_timer(talk, clock) or b"")
    talk.readdressed(loopback=False)
    talk.hurry(clock.now_ns() + 5)
    assert talk.timer_ns == clock.now_ns() + 5
    assert TOKEN.encode() not in (at_timer(talk, clock) or b"")
    assert talk.session_id == 0


def test_a_session_that_a_bare_connect_gave_up_goes_on_with_its_numbers_if_it_comes_back(clock: FakeClock) -> None:
    talk = live(clock)
    while at_timer(talk, clock) != b"connect":
        pass
    assert talk.session_id == 0
    clock.advance_ns(NS_PER_S)
    hear(talk, colour(3, clock), clock)
    assert talk.session_id == SESSION
    figures = talk.figures(clock.now_ns())
    assert (figures["received"], figures["unheard_s"]) == (2, 0)


def test_a_plain_stream_that_was_asked_often_enough_is_left_in_peace(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    for _ in range(200):
        clock.advance_ns(NS_PER_S)
        hear(talk, b"red", clock)
        if talk.timer_ns <= clock.now_ns():
            assert talk.on_timer(clock.now_ns(), clock.unix_ns()) is None
    assert talk.is_live


def test_a_plain_client_s_timer_that_comes_before_the_stream_is_silent_says_nothing(clock: FakeClock) -> None:
    talk = live(clock, Mode.PLAIN)
    assert talk.on_timer(clock.now_ns(), clock.unix_ns()) is None
    assert talk.is_live
