"""Scenarios: what is written is what is meant, and whatever is wrong is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.errors import RequestError
from udprism.link.link import Link
from udprism.link.profiles import profile_of
from udprism.node.scenario import MEASURES, Expectation, Scenario, evaluate

WHOLE = """
title = "A train through a tunnel"
seed = 7
clients = 3
rate_hz = 20
duration_s = 15
expect = ["loss_ratio < 0.03", "unexplained==0", "p99_delay_ms of client-002 >= 1.2e2"]

[[timeline]]
at_s = 0
profile = "4g-train"

[[timeline]]
at_s = 5.5
to = "client-002"
link = { blackout = true }

[[timeline]]
at_s = 5.5
to = ["client-001", "client-003", "client-001"]
link = { delay_ms = 100, seed = 99 }
"""


def test_a_whole_scenario_is_read() -> None:
    scenario = Scenario.from_toml(WHOLE)
    assert scenario.title == "A train through a tunnel"
    assert (scenario.seed, scenario.rate_hz, scenario.duration_s) == (7, 20.0, 15.0)
    assert scenario.clients == ("client-001", "client-002", "client-003")
    first, second, third = scenario.timeline
    assert (first.at_s, first.clients, first.what) == (0.0, (), "4g-train")
    assert (second.at_s, second.clients, second.link) == (5.5, ("client-002",), Link(blackout=True, seed=7))
    assert (third.clients, third.link) == (("client-001", "client-003"), Link(delay_ms=100, seed=99))
    assert scenario.expectations == (
        Expectation("loss_ratio < 0.03", "loss_ratio", "all", "<", 0.03),
        Expectation("unexplained==0", "unexplained", "all", "==", 0.0),
        Expectation("p99_delay_ms of client-002 >= 1.2e2", "p99_delay_ms", "client-002", ">=", 120.0),
    )


def test_a_profiles_link_draws_from_the_scenarios_seed() -> None:
    link = Scenario.from_toml(WHOLE).timeline[0].link
    profile = profile_of("4g-train")
    assert profile is not None
    assert (link.seed, profile.link.seed) == (7, 0)
    assert link.delay_ms == profile.link.delay_ms


def test_only_the_duration_must_be_given() -> None:
    scenario = Scenario.from_toml("duration_s = 1")
    assert (scenario.clients, scenario.rate_hz, scenario.seed) == (("client-001",), 10.0, 0)
    assert (scenario.timeline, scenario.expectations) == ((), ())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "duration_s"),
        ("duration_s = 0", "duration_s"),
        ("duration_s = -5", "duration_s"),
        ('duration_s = "long"', "duration_s"),
        ("duration_s = nan", "duration_s"),
        ("duration_s = 1\nclients = 0", "clients"),
        ("duration_s = 1\nclients = 10001", "clients"),
        ('duration_s = 1\nclients = ["a"]', "clients"),
        ("duration_s = 1\nrate_hz = 0", "rate_hz"),
        ("duration_s = 1\nrate_hz = 1001", "rate_hz"),
        ("duration_s = 1\nseed = -1", "seed"),
        ("duration_s = 1\ntitle = ''", "title"),
        ("duration_s = 1\nspeed = 3", "speed"),
        ("duration_s = 1\ntimeline = 3", "timeline"),
        ("duration_s = 1\ntimeline = [3]", "timeline[0]"),
        ("duration_s = 1\n[[timeline]]\nlink = {}", "timeline[0].at_s"),
        ("duration_s = 1\n[[timeline]]\nat_s = 2\nlink = {}", "timeline[0].at_s"),
        ("duration_s = 1\n[[timeline]]\nat_s = -1\nlink = {}", "timeline[0].at_s"),
        ("duration_s = 9\ntimeline = [{at_s = 3, link = {}}, {at_s = 2, link = {}}]", "timeline[1].at_s"),
        ("duration_s = 1\n[[timeline]]\nat_s = 0", "timeline[0].link"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, profile = 'perfect'}]", "timeline[0].link"),
        ("duration_s = 1\ntimeline = [{at_s = 0, profile = 'moon'}]", "timeline[0].profile"),
        ("duration_s = 1\ntimeline = [{at_s = 0, profile = 3}]", "timeline[0].profile"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = 3}]", "timeline[0].link"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {loss_ratio = 2}}]", "timeline[0].link.loss_ratio"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {los = 1}}]", "timeline[0].link.los"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, to = 'client-002'}]", "timeline[0].to"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, to = ['client-001', 'x']}]", "timeline[0].to"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, to = [['client-001']]}]", "timeline[0].to"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, to = []}]", "timeline[0].to"),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {}, when = 3}]", "timeline[0].when"),
        ("duration_s = 1\nexpect = 'lost == 0'", "expect"),
        ("duration_s = 1\nexpect = [3]", "expect[0]"),
        ("duration_s = 1\nexpect = ['lost == 0', 'lost']", "expect[1]"),
        ("duration_s = 1\nexpect = ['happiness > 3']", "expect[0]"),
        ("duration_s = 1\nexpect = ['lost = 0']", "expect[0]"),
        ("duration_s = 1\nexpect = ['lost == zero']", "expect[0]"),
        ("duration_s = 1\nexpect = ['lost == 1-2']", "expect[0]"),
        ("duration_s = 1\nexpect = ['lost of client-002 == 0']", "expect[0]"),
        ("duration_s = 1\nexpect = ['0 == lost']", "expect[0]"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, field: str) -> None:
    with pytest.raises(RequestError) as refusal:
        Scenario.from_toml(text)
    assert refusal.value.field == field
    assert refusal.value.detail


def test_what_is_not_toml_is_refused_with_its_line() -> None:
    with pytest.raises(RequestError, match=r"not TOML.*line 2"):
        Scenario.from_toml("duration_s = 1\nclients = = 3")


@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_is_refused(text: str) -> None:
    try:
        scenario = Scenario.from_toml("duration_s = 1\n" + text)
    except RequestError:
        return
    assert scenario.duration_s == 1


NUMBERS = dict.fromkeys(MEASURES, 0.0)


def outcome(expectation: str, measured: float | None) -> bool:
    scenario = Scenario.from_toml(f'duration_s = 1\nexpect = ["{expectation}"]')
    (one,) = evaluate(scenario, {"all": {**NUMBERS, "loss_ratio": measured}, "client-001": NUMBERS})
    assert one.measured == measured
    return one.met


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        ("!=", True, False, True),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_each_sign_means_what_it_says(sign: str, below: bool, equal: bool, above: bool) -> None:
    assert [outcome(f"loss_ratio {sign} 0.5", value) for value in (0.4, 0.5, 0.6)] == [below, equal, above]


@pytest.mark.parametrize("sign", ["<", "<=", "==", "!=", ">=", ">"])
def test_what_cannot_be_known_meets_no_expectation(sign: str) -> None:
    assert not outcome(f"loss_ratio {sign} 0.5", None)


def test_an_expectation_of_one_client_looks_at_that_client() -> None:
    scenario = Scenario.from_toml('duration_s = 1\nclients = 2\nexpect = ["lost of client-002 == 3"]')
    results = {"all": NUMBERS, "client-001": NUMBERS, "client-002": {**NUMBERS, "lost": 3}}
    assert [one.met for one in evaluate(scenario, results)] == [True]


def test_a_byte_order_mark_before_the_text_is_ignored() -> None:
    assert Scenario.from_toml("\ufeffduration_s = 1") == Scenario.from_toml("duration_s = 1")
