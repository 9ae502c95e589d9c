"""A link's body: partial ones are filled up, contradictions are refused by name."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.errors import RequestError
from udprism.link.link import MAX_SEED, Burst, Link, client_key


def test_an_empty_body_is_a_link_that_is_off() -> None:
    assert Link.from_body({}) == Link()
    assert Link().is_off


def test_the_body_has_every_field_of_the_interface() -> None:
    assert set(Link().to_body()) == {
        "loss_ratio", "burst", "delay_ms", "jitter_ms", "distribution", "keep_order", "reorder_ratio",
        "duplicate_ratio", "corrupt_ratio", "corrupt_header", "rate_kbit_s", "queue_datagrams", "mtu_bytes",
        "blackout", "seed",
    }  # fmt: skip
    assert set(Link().to_body()["burst"]) == {"enter_ratio", "leave_ratio", "loss_ratio"}


ratios = st.floats(0, 1)
links = st.builds(
    Link,
    loss_ratio=ratios,
    burst=st.builds(Burst, enter_ratio=ratios, leave_ratio=st.floats(1e-6, 1), loss_ratio=ratios),
    delay_ms=st.floats(0.001, 60_000),
    jitter_ms=st.floats(0, 60_000),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    reorder_ratio=ratios,
    duplicate_ratio=ratios,
    corrupt_ratio=ratios,
    corrupt_header=st.booleans(),
    rate_kbit_s=st.none() | st.floats(1, 10_000_000),
    queue_datagrams=st.integers(1, 65_536),
    mtu_bytes=st.none() | st.integers(68, 65_535),
    blackout=st.booleans(),
    seed=st.integers(0, MAX_SEED),
)


@given(links)
def test_a_link_comes_back_from_its_own_body(link: Link) -> None:
    assert Link.from_body(link.to_body()) == link


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"loss_ratio": 1.5}, "loss_ratio"),
        ({"loss_ratio": -0.1}, "loss_ratio"),
        ({"loss_ratio": None}, "loss_ratio"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": 60_001}, "delay_ms"),
        ({"jitter_ms": -0.5}, "jitter_ms"),
        ({"mtu_bytes": 67}, "mtu_bytes"),
        ({"mtu_bytes": 65_536}, "mtu_bytes"),
        ({"mtu_bytes": 576.5}, "mtu_bytes"),
        ({"distribution": "cauchy"}, "distribution"),
        ({"distribution": ["normal"]}, "distribution"),
        ({"keep_order": 1}, "keep_order"),
        ({"rate_kbit_s": 0}, "rate_kbit_s"),
        ({"queue_datagrams": 0}, "queue_datagrams"),
        ({"queue_datagrams": 2.5}, "queue_datagrams"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 53}, "seed"),
        ({"blackout": "yes"}, "blackout"),
        ({"loss": 0.1}, "loss"),
        ({"burst": 0.1}, "burst"),
        ({"burst": {"enter_ratio": 2}}, "burst.enter_ratio"),
        ({"burst": {"enter": 0.1}}, "burst.enter"),
        ({"burst": {"enter_ratio": 0.1}}, "burst.leave_ratio"),
        ({"burst": {"enter_ratio": 0.1, "leave_ratio": 0}}, "burst.leave_ratio"),
        ({"keep_order": True, "reorder_ratio": 0.1, "delay_ms": 10}, "keep_order"),
        ({"reorder_ratio": 0.1}, "reorder_ratio"),
        ({"reorder_ratio": 0.1, "jitter_ms": 10}, "reorder_ratio"),
        ([], None),
        ("perfect", None),
        (None, None),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(body: Any, field: str | None) -> None:
    with pytest.raises(RequestError) as refusal:
        Link.from_body(body)
    assert refusal.value.field == field
    assert refusal.value.kind == "invalid"


def test_no_burst_and_null_are_the_same() -> None:
    assert Link.from_body({"burst": None}) == Link()


@pytest.mark.parametrize(
    "body",
    [
        {"loss_ratio": 0.1},
        {"burst": {"enter_ratio": 0.1, "leave_ratio": 0.5}},
        {"delay_ms": 1},
        {"jitter_ms": 1},
        {"duplicate_ratio": 0.1},
        {"corrupt_ratio": 0.1},
        {"rate_kbit_s": 100},
        {"mtu_bytes": 576},
        {"blackout": True},
    ],
)
def test_each_impairment_alone_turns_a_link_on(body: dict[str, Any]) -> None:
    assert not Link.from_body(body).is_off


@pytest.mark.parametrize(
    "body", [{"seed": 5}, {"queue_datagrams": 5}, {"distribution": "pareto"}, {"keep_order": True}]
)
def test_a_setting_that_impairs_nothing_leaves_a_link_off(body: dict[str, Any]) -> None:
    assert Link.from_body(body).is_off


def test_a_link_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Link().loss_ratio = 1  # type: ignore[misc]


def test_a_clients_key_is_the_same_today_and_next_year() -> None:
    assert client_key("client-1") == 15048734264059359982
    assert client_key("client-1") != client_key("client-2")


def test_in_words_a_link_is_what_differs_from_one_that_is_off() -> None:
    assert str(Link(seed=0)) == "off"
    words = str(Link(loss_ratio=0.02, burst=Burst(0.1, 0.5), rate_kbit_s=80.0))
    assert words == "loss_ratio 0.02, burst (enter 0.1, leave 0.5, loss 1.0), rate_kbit_s 80.0"
