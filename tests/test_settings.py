"""Settings: what their bounds let through works, and all else is named before anything starts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import annotated_types
import pytest
import typer
from pydantic import ValidationError

from udprism.cli.flags import read_settings
from udprism.errors import UdprismError
from udprism.node import assembly
from udprism.node.bridge import Bridge
from udprism.settings import Settings, split_host_port

DEADLINE_S = 20


def bounds(name: str) -> tuple[Any, Any] | None:
    """The least and the most that a number may be."""
    found = {type(one): one for one in Settings.model_fields[name].metadata}
    if annotated_types.Ge not in found:
        return None
    return found[annotated_types.Ge].ge, found[annotated_types.Le].le  # all numbers have both


BOUNDED = {name: ends for name in Settings.model_fields if (ends := bounds(name)) is not None}
ENDS = [(name, end) for name, ends in BOUNDED.items() for end in ends]


def numbers() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            yield name


def test_every_number_has_bounds() -> None:
    assert set(numbers()) == set(BOUNDED)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "1" + "0" * 400, "-1", "", "x"])
def test_a_number_that_is_none_is_a_usage_error_that_names_the_field(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"UDPRISM_{name.upper()}", value)
    if not value:  # counts as not given
        assert getattr(Settings(), name) == Settings.model_fields[name].get_default(
            call_default_factory=True, validated_data={}
        )
        return
    with pytest.raises(typer.BadParameter) as refused:
        read_settings()
    assert refused.value.message.startswith(f"--{name.replace('_', '-')} (UDPRISM_{name.upper()}) '{value}': ")
    assert refused.value.message.count("UDPRISM_") == 1


@pytest.mark.parametrize(("name", "value"), ENDS)
def test_both_ends_of_a_setting_s_bounds_work(name: str, value: Any) -> None:
    room = {"max_clients": 500} if name not in ("max_clients", "clients") else {"max_clients": 100_000}
    clients = min(value, 200) if name == "clients" else 1  # a hundred thousand need as many sockets
    bridge = Bridge(Settings(**{"udp": "127.0.0.1:0", **room, name: value, "clients": clients}))
    bridge.start()
    try:

        async def live() -> None:
            async with asyncio.timeout(DEADLINE_S):
                while (await bridge.status())["clients"]["live"] < min(clients, 1):
                    await asyncio.sleep(0.01)

        asyncio.run(live())
        assert bridge.counters()["thread_restarts_total"] == {"server": 0, "pool": 0}
    finally:
        bridge.stop()


def test_a_history_that_is_no_power_of_two_is_refused_with_those_beside_it() -> None:
    with pytest.raises(ValidationError, match="power of two, such as 512 or 1024") as refused:
        Settings(history_datagrams=1000)
    assert refused.value.errors()[0]["loc"] == ("history_datagrams",)


def test_more_clients_than_there_may_be_are_refused_but_the_default_only_bows() -> None:
    with pytest.raises(ValidationError, match=r"max_clients \(UDPRISM_MAX_CLIENTS\), which is 10000") as refused:
        Settings(clients=20_000)
    assert refused.value.errors()[0]["loc"] == ("clients",)
    assert Settings(max_clients=5).clients == 5
    assert Settings(clients=3, max_clients=5).clients == 3


def test_tables_that_no_memory_holds_are_a_usage_error_that_names_what_to_lower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*sizes: int) -> None:
        raise MemoryError

    monkeypatch.setattr(assembly, "History", no_memory)
    with pytest.raises(UdprismError, match="UDPRISM_HISTORY_PAYLOAD_BYTES"):
        Bridge(Settings(udp="127.0.0.1:0"))


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\0", "x\ny", ".a"])
def test_a_host_that_the_system_cannot_even_be_asked_for_is_none(host: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|not a valid host name"):
        split_host_port(f"{host}:5000")


@pytest.mark.parametrize("host", ["localhost", "a.example", "bücher.example", "a_b", "127.0.0.1", "1"])
def test_a_host_may_have_any_name(host: str) -> None:
    assert split_host_port(f"{host}:5000") == (host, 5000)


def test_a_rate_is_a_number() -> None:
    with pytest.raises(ValidationError):
        Settings(rate_hz=math.nan)
