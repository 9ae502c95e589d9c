"""Frames and texts of the live feed: bytes for bytes what PROTOCOL.md says."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.web import messages
from udprism.web.live.encoded_snapshot import EncodedSnapshot
from web.fake_bridge import FakeBridge
from web.live_vectors import CASES, GOLDEN, decode, encoded, snapshot


@pytest.mark.parametrize("name", CASES)
def test_frame_is_the_golden_one(name: str) -> None:
    golden = {case["name"]: case for case in json.loads(GOLDEN.read_text())}
    assert encoded(name).hex() == golden[name]["hex"]
    assert decode(encoded(name)) == golden[name]["decoded"]


def test_golden_file_holds_these_cases_and_no_others() -> None:
    assert [case["name"] for case in json.loads(GOLDEN.read_text())] == list(CASES)


@given(n=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
def test_columns_survive_whatever_their_padding(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    made = snapshot(
        n=n,
        state=draw.integers(0, 7, n, np.uint8),
        rgba=draw.integers(0, 256, (n, 4), np.uint8),
        flags=draw.integers(0, 128, n, np.uint8),
        age_ms=draw.integers(0, 65_536, n, np.uint16),
        rate_hz=draw.uniform(0, 1_000, n).astype(np.float32),
        loss_ratio=draw.uniform(0, 1, n).astype(np.float32),
        jitter_ms=draw.uniform(0, 600, n).astype(np.float32),
        delay_ms=draw.uniform(0, 6_000, n).astype(np.float32),
    )
    read = decode(EncodedSnapshot(made, {}).frame(True, (1,)))
    for column in ("state", "flags", "age_ms"):
        assert read[column] == getattr(made, column).tolist()
    assert read["rgba"] == made.rgba.ravel().tolist()
    assert np.allclose(np.array(read["stats"]["rate"]) / 50, made.rate_hz, atol=0.011)
    assert np.allclose(np.array(read["stats"]["loss"]) / 65_534, made.loss_ratio, atol=1e-5)
    assert np.allclose(np.array(read["stats"]["jitter"]) / 100, made.jitter_ms, atol=0.0051)
    assert np.allclose(np.array(read["stats"]["delay"]) / 10, made.delay_ms, atol=0.051)


def test_column_that_is_not_contiguous_is_encoded_as_it_reads() -> None:
    wide = np.arange(24, dtype=np.uint8).reshape(3, 8)
    assert (
        decode(EncodedSnapshot(snapshot(rgba=wide[:, ::2]), {}).frame(False, None))["rgba"]
        == wide[:, ::2].ravel().tolist()
    )


def test_row_that_the_snapshot_lacks_is_left_out() -> None:
    read = decode(EncodedSnapshot(snapshot(), {}).frame(False, (9, 1)))
    assert [row["slot"] for row in read["rows"]] == [1]


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_number_that_json_lacks_is_a_bug_and_no_invented_value(figure: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        messages.text({"value": figure})


def test_lone_surrogate_in_a_name_can_be_sent() -> None:
    assert messages.text({"name": "\ud800"}).encode() == b'{"name":"\\ud800"}'


def test_status_carries_the_viewers_own_account() -> None:
    shared = messages.status({"losing": 2}, viewers=3)
    assert json.loads(messages.for_viewer(shared, 10, 4, 6)) == {
        "type": "status",
        "losing": 2,
        "viewers": 3,
        "viewer": {"received": 10, "relayed": 4, "conflated": 6},
    }


def test_hello_names_the_basic_colours_in_both_languages() -> None:
    hello: dict[str, Any] = json.loads(messages.hello(cast(Any, FakeBridge()), 1_700_000_000_000))
    assert hello["protocol"] == 1
    assert hello["udp"] == "127.0.0.1:12345"
    assert hello["palette"]["basic"][0] == ["red", "#ff0000", "merah"]
    assert len(hello["palette"]["basic"]) == 6
    assert dict(hello["palette"]["names"])["teal"] == "#008080"
    assert [row[:2] for row in hello["formats"]][:2] == [["ddp", "DDP"], ["wled", "WLED realtime"]]
    assert {name for name, _, sends in hello["formats"] if not sends} == {"opaque"}
    assert hello["limits"]["rate_hz"] == [0.01, 1000]
