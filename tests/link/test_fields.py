"""Reading fields: what is refused says where and what would be right."""

import math

import pytest

from udprism.errors import RequestError
from udprism.link import fields


@pytest.mark.parametrize(
    "value",
    [-0.001, 1.001, math.nan, math.inf, 10**5000, True, "0.5", None, [0.5]],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_ratio_is_refused_with_its_field(value: object) -> None:
    with pytest.raises(RequestError, match="from 0 to 1") as refusal:
        fields.ratio(value, "loss_ratio")
    assert refusal.value.field == "loss_ratio"


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.25])
def test_bounds_belong_to_a_ratio(value: float) -> None:
    assert fields.ratio(value, "loss_ratio") == value


@pytest.mark.parametrize("value", [0, 11, 1.5, math.nan, True, "3", None])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="whole number from 1 to 10"):
        fields.whole(value, "count", 1, 10)


def test_a_whole_float_is_a_whole_number() -> None:
    value = fields.whole(3.0, "count", 1, 10)
    assert (value, type(value)) == (3, int)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_only_true_and_false_are_flags(value: object) -> None:
    with pytest.raises(RequestError, match="true or false"):
        fields.flag(value, "blackout")


@pytest.mark.parametrize("value", ["", "x" * 65, 1, None])
def test_text_has_at_least_one_character_and_at_most_its_limit(value: object) -> None:
    with pytest.raises(RequestError, match="1 to 64 characters"):
        fields.text(value, "name", 64)


def test_an_unknown_name_is_refused_with_its_whole_path() -> None:
    with pytest.raises(RequestError, match="known are enter_ratio") as refusal:
        fields.table({"entr_ratio": 1}, "burst", ["enter_ratio"])
    assert refusal.value.field == "burst.entr_ratio"


def test_a_refusal_shows_at_most_a_little_of_what_was_given() -> None:
    with pytest.raises(RequestError) as refusal:
        fields.ratio("x" * 10_000, "loss_ratio")
    assert len(refusal.value.detail) < 100


def test_a_text_within_its_limit_is_itself() -> None:
    assert fields.text("x" * 64, "name", 64) == "x" * 64
