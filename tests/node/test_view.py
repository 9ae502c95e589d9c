"""What is shown of the pool's tables."""

from __future__ import annotations

from functools import partial

import numpy as np

from udprism.columns.types import NS_PER_S
from udprism.ledger.history import History
from udprism.ledger.latest import Latest
from udprism.ledger.ledger import Ledger
from udprism.ledger.rates import Rates
from udprism.ledger.timeline import Timeline, ledger_totals
from udprism.link.book import LinkBook
from udprism.link.link import Link
from udprism.link.model import LinkModel
from udprism.node.view import FLAG_BEHIND, View
from udprism.serving.book import ClientColumns
from udprism.serving.clients import ClientTable, HostedClient, Mode, State

TARGET = ("127.0.0.1", 1)


def live_clients(*asked_hz: float) -> tuple[ClientColumns, View]:
    capacity = len(asked_hz)
    ledger = Ledger(capacity, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    table = ClientTable(capacity)
    timeline = Timeline(capacity, 0, partial(ledger_totals, ledger))
    columns = ClientColumns(table, ledger, History(capacity), Rates(capacity), Latest(capacity), timeline)
    for number, rate_hz in enumerate(asked_hz):
        name = f"client-{number}"
        client = HostedClient(name, name, "127.0.0.1:1", TARGET, True, Mode.AUTO, rate_hz, 1, connected=True)
        slot = table.add(client, 2 * NS_PER_S, 0)
        table.state[slot] = State.LIVE
    columns.reset(np.arange(capacity, dtype=np.int32), 0)
    return columns, View(columns, LinkBook(LinkModel(capacity), capacity))


def test_a_sender_that_falls_behind_is_marked_counted_and_needs_attention() -> None:
    columns, view = live_clients(200, 100, 50, 1)
    columns.rates.sent_recent_hz[:] = [110, 95, np.nan, 0.5]
    flags = view.snapshot([], NS_PER_S, NS_PER_S).flags
    assert (flags & FLAG_BEHIND).astype(bool).tolist() == [True, False, False, False]
    summary = view.summary()
    assert summary.behind == 1
    (told,) = summary.attention
    assert (told["name"], told["why"], told["value"]) == ("client-0", "behind", 0.55)


def test_many_senders_behind_are_one_line_about_this_machine() -> None:
    columns, view = live_clients(*[100] * 6)
    columns.rates.sent_recent_hz[:] = [80, 82, 81, 83, 100, 100]
    (told,) = view.summary().attention
    assert (told["why"], told["id"], told["value"]) == ("everybody-behind", None, 0.815)
    columns.rates.sent_recent_hz[:3] = 100
    assert [told["why"] for told in view.summary().attention] == ["behind"]


def test_a_common_loss_is_one_line_also_where_some_senders_fall_behind() -> None:
    columns, view = live_clients(*[100] * 10)
    columns.ledger.measured[:] = True
    columns.rates.loss_recent[:] = 0.05
    columns.rates.sent_recent_hz[:] = [80.0, 80.0] + [100.0] * 8
    told = [(one["why"], one["id"]) for one in view.summary().attention]
    assert told == [("everybody", None), ("behind", "client-0"), ("behind", "client-1")]


def test_a_silent_client_is_not_also_behind() -> None:
    columns, view = live_clients(100)
    columns.table.state[0] = State.SILENT
    columns.rates.sent_recent_hz[0] = 0
    assert [told["why"] for told in view.summary().attention] == ["silent"]


def lose(columns: ClientColumns, *ratios: float) -> None:
    count = len(ratios)
    columns.ledger.measured[:count] = True
    columns.rates.loss_recent[:count] = ratios
    columns.rates.sent_recent_hz[:count] = 100


def test_a_loss_that_everybody_has_is_one_line_and_outliers_are_named() -> None:
    columns, view = live_clients(*[100] * 6)
    lose(columns, 0.02, 0.021, 0.018, 0.02, 0.022, 0.3)
    everybody, outlier = view.summary().attention
    assert (everybody["why"], everybody["id"], everybody["value"]) == ("everybody", None, 0.0205)
    assert (outlier["name"], outlier["why"], outlier["value"]) == ("client-5", "loss", 0.3)


def test_a_common_loss_under_a_link_says_so() -> None:
    columns, _ = live_clients(*[100] * 6)
    lose(columns, *[0.05] * 6)
    links = LinkBook(LinkModel(6), 6)
    links.put_default(Link(loss_ratio=0.05))
    (told,) = View(columns, links).summary().attention
    assert told["why"] == "everybody-link"


def test_a_few_that_lose_are_named() -> None:
    columns, view = live_clients(*[100] * 6)
    lose(columns, 0.02, 0.02, 0.02, 0, 0, 0)
    assert [told["why"] for told in view.summary().attention] == ["loss"] * 3
