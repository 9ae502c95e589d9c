from __future__ import annotations

import pytest

from udprism.wire.artnet import POLL_REPLY_BYTES, Artnet, Op, PollReply, encode_poll_reply, key_of, operation_of

REPLY = PollReply(bytes((127, 0, 0, 1)), 6454, [0x123, 0x120], sent=10_012)


def values(data: bytes) -> dict[str, str]:
    return {field.name: field.value for field in Artnet().fields(data)}


def test_a_reply_to_a_poll_has_239_bytes_and_its_port_little_endian() -> None:
    data = encode_poll_reply(REPLY)
    assert len(data) == POLL_REPLY_BYTES == 239
    assert data[:10] == b"Art-Net\0\x00\x21"
    assert data[14:16] == b"\x36\x19"
    assert values(data)["port"] == "6454"
    assert values(data)["address"] == "127.0.0.1"


def test_a_reply_says_which_universes_it_takes_as_net_subnet_and_four_bits_each() -> None:
    data = encode_poll_reply(REPLY)
    shown = values(data)
    assert (shown["net"], shown["subnet"], shown["ports"]) == ("1", "2", "2")
    assert shown["output universes"] == "03 00 00 00"
    assert shown["port types"] == "80 80 00 00"
    assert shown["style"] == "0"


def test_only_the_counter_of_the_report_changes_from_reply_to_reply() -> None:
    one, two = encode_poll_reply(REPLY), encode_poll_reply(REPLY._replace(sent=10_013))
    changed = [place for place in range(len(one)) if one[place] != two[place]]
    assert 108 <= min(changed) <= max(changed) < 172
    assert values(one)["report"] == "#0001 [0012] listening"


def test_a_name_that_is_too_long_is_cut_between_letters_and_ends_in_nul() -> None:
    data = encode_poll_reply(REPLY._replace(short_name="ä" * 18))
    assert data[26:44] == ("ä" * 8).encode() + b"\0\0"


@pytest.mark.parametrize("universes", [[1, 2, 3, 4, 5], [15, 16], [0x8000]])
def test_universes_that_no_reply_can_name_are_refused(universes: list[int]) -> None:
    with pytest.raises(ValueError, match="one subnet"):
        encode_poll_reply(REPLY._replace(universes=universes))


def test_a_poll_and_a_synchronisation_are_told_apart() -> None:
    assert operation_of(b"Art-Net\0\0\x20\0\x0e\0\0") == Op.POLL
    assert operation_of(b"Art-Net\0\0\x52\0\x0e\0\0") == Op.SYNC


def test_two_inputs_of_one_sender_are_two_flows() -> None:
    assert len({key_of(1), key_of(1, 1), key_of(2), key_of(256)}) == 4
