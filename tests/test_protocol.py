"""PROTOCOL.md says what the code does: its bytes are the golden ones, its reasons and numbers the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from udprism.ledger.fates import Cause, Fate
from udprism.serving import admission, commands
from udprism.serving.clients import State
from udprism.web import messages
from udprism.wire import measured as wire

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "backend" / "PROTOCOL.md").read_text("utf-8")
GOLDEN: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "wire.json").read_text("utf-8"))


def shown_bytes() -> list[tuple[str, str]]:
    """(list in wire.json, hex) of each line in a `golden` block."""
    lines = [line for block in re.findall(r"```golden\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
    matches = [re.fullmatch(r"(\w+) +((?:[0-9a-f]{2,} ?)+)(?: .*)?", line) for line in lines]
    assert all(matches), lines
    return [(match[1], match[2].replace(" ", "")) for match in matches if match]


def reasons_under(heading: str) -> set[str]:
    """First column of the table of reasons in one section."""
    section = TEXT.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    table = section.split("| reason |", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE))


@pytest.mark.parametrize(("listed", "data"), shown_bytes())
def test_bytes_that_are_shown_are_golden(listed: str, data: str) -> None:
    vectors = GOLDEN["reports"] if listed == "acks" else GOLDEN[listed]
    assert data in {vector["ack_hex" if listed == "acks" else "hex"] for vector in vectors}


def test_each_kind_of_datagram_is_shown() -> None:
    kinds = {"commands", "bad_commands", "plain", "colours", "reports", "acks", "byes", "retries"}
    assert {listed for listed, _ in shown_bytes()} == kinds


def test_every_reason_of_a_bad_command_is_in_its_table() -> None:
    assert reasons_under("1.") == {vector["reason"] for vector in GOLDEN["bad_commands"]}


def test_every_reason_of_a_bad_datagram_is_in_its_table() -> None:
    assert reasons_under("3.") == {vector["reason"] for vector in GOLDEN["bad_binary"]} | {"server-binary"}


def test_every_reason_of_a_refusal_is_named() -> None:
    for reason in get_args(admission.Refusal):  # no other can be given: mypy checks it
        assert f"`{reason}`" in TEXT


def test_numbers_of_types_reasons_states_fates_and_causes_are_the_code_s() -> None:
    flat = " ".join(TEXT.split())
    assert ", ".join(f"{kind.value} {kind.name}" for kind in wire.Kind) in flat
    assert ", ".join(f"{state.value} {state.name.lower()}" for state in State) in flat
    assert f"{Fate.RECEIVED.value} received, {Fate.LOST.value} lost, {Fate.LATE.value} late" in flat
    causes = (
        "none",
        "link",
        "the sender's kernel",
        "the receiver's kernel",
        "unexplained",
        "unknown path",
        "path",
        "awaiting report",
    )
    assert len(causes) == len(Cause)
    assert ", ".join(f"{cause.value} {word}" for cause, word in zip(Cause, causes, strict=True)) in flat
    byes = {"the server shuts down": 1, "the lease expired": 2, "ended by an operator": 3}
    assert ", ".join(f"{number} {words}" for words, number in byes.items()) in flat
    assert sorted(byes.values()) == [reason.value for reason in wire.ByeReason]


def test_limits_are_the_code_s() -> None:
    table = dict(re.findall(r"^\| (\w+) \| (\d+) ", TEXT.split("\n## 6.", 1)[1].split("\n## ", 1)[0], re.MULTILINE))
    assert {name: int(most) for name, most in table.items()} == {
        "command": commands.MAX_COMMAND_BYTES,
        "response": commands.MAX_RESPONSE_BYTES,
        "name": commands.MAX_NAME_CHARACTERS,
        "COLOUR": wire.MAX_DATAGRAM_BYTES,
        "rate": commands.MAX_RATE_HZ,
    }
    assert f"{commands.MAX_SERVER_ONLY_IN_A_ROW} of them in a row" in TEXT
    assert f"{admission.RETRIES_PER_S}\n`retry` a second" in TEXT
    assert f"{admission.NEW_SESSIONS_PER_S_A_PREFIX} new ones a second" in TEXT
    assert (
        f"{admission.BEYOND_LOOPBACK_MAX_RATE_HZ:g} datagrams/s, {admission.MAX_SESSIONS_AN_ADDRESS} sessions" in TEXT
    )


def test_offsets_of_headers_are_the_code_s() -> None:
    def table(after: str) -> dict[int, str]:
        rows = TEXT.split(after, 1)[1].split("\n\n", 2)[1]
        return {int(row[0]): row[1] for row in re.findall(r"^\| (\d+) \| (\w+) ", rows, re.MULTILINE)}

    fields = wire.HEADER.fields
    assert fields is not None
    assert table("begins with these 20 bytes:") == {place[1]: str(place[0].itemsize) for place in fields.values()}
    rows = messages.ROW_HEADER.fields
    assert rows is not None
    kinds = {"u4": "u32", "f8": "f64", "f4": "f32"}
    expected = {place[1]: kinds[place[0].str[1:]] for place in rows.values()}
    assert table("a slot that does not exist is left out):") == expected
    assert messages.HEADER.size == 32
