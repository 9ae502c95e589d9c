"""Named links: valid, described, and what they say of themselves is so."""

import numpy as np
import pytest

from udprism.link.link import Link
from udprism.link.model import LinkModel
from udprism.link.profiles import PROFILES, Profile, profile_of

MS = 1_000_000

every_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)


@every_profile
def test_a_profiles_link_is_one_that_would_be_accepted(profile: Profile) -> None:
    assert Link.from_body(profile.link.to_body()) == profile.link


@every_profile
def test_a_profile_says_what_it_models_and_where_its_figures_come_from(profile: Profile) -> None:
    for sentence in (profile.models, profile.source):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


def test_ids_and_names_are_unique() -> None:
    assert len({profile.id for profile in PROFILES}) == len({profile.name for profile in PROFILES}) == len(PROFILES)


def test_the_promised_profiles_are_there() -> None:
    assert {
        "perfect", "home-wifi", "conference-wifi", "4g-train", "geo-satellite", "bad-dsl", "bufferbloat",
        "loss-2-percent", "one-second-outages",
    } <= {profile.id for profile in PROFILES}  # fmt: skip
    assert profile_of("perfect") is not None
    assert profile_of("nowhere") is None


def stream(profile_id: str, seconds: int, rate_hz: int = 10, clients: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """(dropped, delay_ms), each [ticks, clients], of the default stream of one-pixel datagrams."""
    profile = profile_of(profile_id)
    assert profile is not None
    model = LinkModel(clients)
    slots = np.arange(clients, dtype=np.int32)
    model.assign(slots, profile.link, np.arange(clients, dtype=np.uint64))
    size = np.full(clients, 23, np.int32)
    dropped, delay_ms = [], []
    for tick in range(seconds * rate_hz):
        now_ns = tick * 1000 // rate_hz * MS
        verdict = model.judge(slots, np.full(clients, tick), size, now_ns)
        dropped.append(verdict.dropped)
        delay_ms.append((verdict.release_ns - now_ns) / MS)
    return np.stack(dropped), np.stack(delay_ms)


def test_home_wifi_is_quick_with_a_tail() -> None:
    dropped, delay_ms = stream("home-wifi", 60)
    assert np.percentile(delay_ms, 50) == pytest.approx(3, abs=0.5)
    assert np.percentile(delay_ms, 90) < 20 < np.percentile(delay_ms, 99)
    assert dropped.mean() < 0.005


def test_conference_wifi_takes_over_20_ms_for_half_and_about_100_ms_for_a_tenth() -> None:
    dropped, delay_ms = stream("conference-wifi", 60)
    assert np.percentile(delay_ms, 50) == pytest.approx(25, abs=6)
    assert np.percentile(delay_ms, 90) == pytest.approx(100, rel=0.2)
    assert dropped.mean() == pytest.approx(0.03, rel=0.2)


def test_bufferbloat_delays_before_it_drops() -> None:
    dropped, delay_ms = stream("bufferbloat", 60, clients=1)
    first = int(np.argmax(dropped[:, 0]))
    assert first > 50
    assert (np.diff(delay_ms[:first, 0]) > 0).all()
    assert delay_ms[~dropped].max() == pytest.approx(2740, rel=0.02)


def test_outages_last_a_second_and_come_twice_a_minute() -> None:
    dropped, _ = stream("one-second-outages", 300)
    begins = dropped[1:] & ~dropped[:-1]
    assert dropped[1:].sum() / begins.sum() == pytest.approx(10, rel=0.1)
    # About: the chain must be out of one outage before it can enter the next.
    assert begins.sum() / (200 * 5) == pytest.approx(2, rel=0.1)
