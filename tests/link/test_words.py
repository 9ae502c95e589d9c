"""A link as somebody types it."""

from __future__ import annotations

import pytest

from udprism.errors import RequestError
from udprism.link.link import Burst, Link
from udprism.link.profiles import PROFILES
from udprism.link.words import EXAMPLE, read_link


@pytest.mark.parametrize(
    ("text", "link"),
    [
        (EXAMPLE, Link(loss_ratio=0.02, delay_ms=40, jitter_ms=5)),
        ("loss=0.02", Link(loss_ratio=0.02)),
        ("duplicate=1%, corrupt=2%", Link(duplicate_ratio=0.01, corrupt_ratio=0.02)),
        ("delay=3, reorder=4%", Link(delay_ms=3, reorder_ratio=0.04)),
        ("mtu=1280", Link(mtu_bytes=1280)),
        ("rate=500,queue=20,order,seed=7", Link(rate_kbit_s=500, queue_datagrams=20, keep_order=True, seed=7)),
        ("blackout", Link(blackout=True)),
        ('{"burst": {"enter_ratio": 0.1, "leave_ratio": 0.2}}', Link(burst=Burst(0.1, 0.2))),
        (PROFILES[3].id, PROFILES[3].link),
    ],
)  # fmt: skip
def test_words_json_and_profiles_are_links(text: str, link: Link) -> None:
    assert read_link(text, "up") == link


def test_a_seed_is_taken_unless_the_words_name_one() -> None:
    assert read_link("loss=1%", "up", 5).seed == 5
    assert read_link("loss=1%,seed=3", "up", 5).seed == 3
    assert read_link('{"seed": 3}', "up", 5).seed == 3
    assert read_link(PROFILES[3].id, "up", 5).seed == 5


@pytest.mark.parametrize(
    "text", ["", "loss", "loss=", "loss=much", "loss=200%", "speed=3", "{", "[]", "delay=-1", "loss=1%,"]
)
def test_what_is_no_link_is_refused_with_the_flag_at_fault(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_link(text, "down")
    assert refused.value.field == "down"
