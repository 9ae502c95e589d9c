"""What the doctor says of the NATS server between nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.nats import running_nats
from udprism.cli.doctor.finding import Severity
from udprism.cli.doctor.nodes import check_nats, judged
from udprism.node.mesh.subjects import MAX_MESSAGE_BYTES
from udprism.settings import Settings


def test_a_server_that_answers_is_told_with_its_version(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        found = check_nats(Settings(nats=[server.url]))
    assert found.severity is Severity.OK, found
    assert "there and back" in found.saw


def test_one_that_is_not_there_or_refuses_us_is_told_with_its_reason(tmp_path: Path) -> None:
    with running_nats(tmp_path, 'authorization { user: "a", password: "b" }') as server:
        refused = check_nats(Settings(nats=[server.url]))
        url = server.url
    assert refused.severity is Severity.FAIL
    assert "authorization" in refused.saw.lower()
    assert check_nats(Settings(nats=[url])).severity is Severity.FAIL


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = check_nats(Settings(nats=["nats://127.0.0.1:1"], nats_creds=tmp_path / "missing.key"))
    assert found.severity is Severity.FAIL
    assert "missing.key" in found.saw


@pytest.mark.parametrize(
    ("version", "most_bytes", "round_trip_ms", "severity"),
    [
        ((2, 15), 1 << 20, 1.0, Severity.OK),
        ((2, 10), 1 << 20, 1.0, Severity.FAIL),
        ((2, 15), MAX_MESSAGE_BYTES - 1, 1.0, Severity.FAIL),
        ((2, 15), 1 << 20, 400.0, Severity.NOTE),
    ],
)
def test_old_small_and_far_servers_are_told_apart(
    version: tuple[int, int], most_bytes: int, round_trip_ms: float, severity: Severity
) -> None:
    assert judged("nats://hub", version, most_bytes, round_trip_ms).severity is severity
