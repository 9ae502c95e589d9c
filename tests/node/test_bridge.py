"""The bridge whole, on real sockets: server, hosted clients, ledger, links, store; no web."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from udprism.errors import RequestError
from udprism.node.bridge import Bridge
from udprism.node.store import FILE_NAME, KeptClient, Store
from udprism.settings import Settings
from udprism.udp.sockets import open_client


def settings(**changes: Any) -> Settings:
    return Settings(**{"udp": "127.0.0.1:0", "clients": 0, "rate_hz": 50, **changes})


@asynccontextmanager
async def running(store: Store | None = None, **changes: Any) -> AsyncIterator[Bridge]:
    bridge = await asyncio.to_thread(Bridge, settings(**changes), store)
    await asyncio.to_thread(bridge.start)
    try:
        yield bridge
    finally:
        await asyncio.to_thread(bridge.stop)


async def until(condition: Callable[[], Awaitable[object]], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def all_live(bridge: Bridge, count: int) -> bool:
    status = await bridge.status()
    return bool(status["clients"]["live"] == count)


def closes(ledger: dict[str, Any]) -> bool:
    causes = [value for value in ledger["lost_by_cause"].values() if value is not None]
    return bool(
        ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
        and ledger["lost"] == sum(causes)
        and ledger["in_flight"] >= 0
    )


@contextmanager
def foreign_server() -> Iterator[int]:
    """Matches the whole datagram with `connect`, answers from another port, knows nothing else."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))
    listening.settimeout(0.02)
    stopping = threading.Event()

    def serve() -> None:
        clients: list[Any] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering:
            answering.bind(("127.0.0.1", 0))
            while not stopping.is_set():
                try:
                    data, address = listening.recvfrom(2048)
                    if data == b"connect":
                        clients.append(address)
                except TimeoutError:
                    pass
                for address in clients:
                    answering.sendto(b"green", address)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopping.set()
        thread.join()
        listening.close()


def test_hosted_clients_come_alive_and_every_ledger_closes() -> None:
    async def main() -> None:
        async with running() as bridge:
            added = await bridge.clients.add(count=50)
            assert len({body["id"] for body in added}) == 50
            await until(lambda: all_live(bridge, 50))
            for _ in range(20):
                assert closes(await bridge.ledger())
                for body in (await bridge.clients.page())[0]:
                    assert closes(body["ledger"]), body
                await asyncio.sleep(0.01)
            whole = await bridge.ledger()
            assert whole["received"] > 0
            assert whole["lost"] == 0

    asyncio.run(main())


def test_loss_on_one_client_is_its_own_and_has_its_cause() -> None:
    async def main() -> None:
        async with running(rate_hz=200) as bridge:
            first, second = [body["id"] for body in await bridge.clients.add(count=2)]
            await bridge.links.put(first, {"loss_ratio": 0.2, "seed": 7})

            async def enough() -> bool:
                return bool((await bridge.clients.get(first))["ledger"]["sent"] > 300)

            await until(enough)
            hurt, healthy = await bridge.clients.get(first), await bridge.clients.get(second)
            assert closes(hurt["ledger"])
            assert hurt["ledger"]["lost"] == hurt["ledger"]["lost_by_cause"]["link"] > 20
            assert hurt["ledger"]["lost_by_cause"]["unexplained"] == 0
            assert healthy["ledger"]["lost"] == 0
            assert hurt["link"]["loss_ratio"] == 0.2
            rows = await bridge.clients.datagrams(first, 256)
            lost = [row for row in rows if row["fate"] == "lost"]
            assert lost
            assert {row["cause"] for row in lost} == {"link"}
            assert [row["sequence"] for row in rows] == sorted(row["sequence"] for row in rows)

    asyncio.run(main())


def test_what_the_link_drops_before_the_first_arrival_has_its_cause_too() -> None:
    async def main() -> None:
        async with running(rate_hz=20) as bridge:
            await bridge.links.put_default({"loss_ratio": 0.7, "seed": 3})
            await bridge.clients.add(count=100)

            async def enough() -> bool:
                whole = await bridge.ledger()
                return bool(whole["sent"] > 4000)

            await until(enough, 30)
            await bridge.links.remove_default()
            whole = await bridge.ledger()
            assert closes(whole)
            assert whole["lost_by_cause"]["unexplained"] == 0
            assert abs(whole["lost_by_cause"]["link"] / whole["sent"] - 0.7) < 0.05

    asyncio.run(main())


def test_delays_begin_anew_when_the_link_changes() -> None:
    async def main() -> None:
        async with running() as bridge:
            (body,) = await bridge.clients.add()
            await until(lambda: all_live(bridge, 1))
            await bridge.links.put(body["id"], {"delay_ms": 60})

            async def slow() -> bool:
                p50 = (await bridge.clients.get(body["id"]))["delay_ms"]["p50"]
                return p50 is not None and bool(60 <= p50 < 100)

            await until(slow)

    asyncio.run(main())


def test_a_foreign_server_that_answers_from_another_port_can_be_a_target() -> None:
    async def main() -> None:
        with foreign_server() as port:
            async with running() as bridge:
                (body,) = await bridge.clients.add(target=f"127.0.0.1:{port}")
                await until(lambda: all_live(bridge, 1))
                body = await bridge.clients.get(body["id"])
                assert body["stream"] == "plain"
                assert body["last_colour"]["name"] == "green"
                assert body["ledger"]["lost"] is None
                assert body["jitter_ms"] is None
                assert body["delay_ms"] == dict.fromkeys(("min", "p50", "p95", "p99", "max"))

    asyncio.run(main())


def test_a_target_that_refuses_is_refused_and_comes_alive_when_it_is_there() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        async with running() as bridge:
            (body,) = await bridge.clients.add(target=f"127.0.0.1:{port}")

            async def refused() -> bool:
                return bool((await bridge.clients.get(body["id"]))["state"] == "refused")

            await until(refused)
            other = Bridge(Settings(udp=f"127.0.0.1:{port}", clients=0))
            other.start()
            try:
                await until(lambda: all_live(bridge, 1))
                known = (await bridge.clients.get(body["id"]))["ledger"]
                assert known["lost_by_cause"]["link"] is None, "what another process did is not known here"
            finally:
                other.stop()

    asyncio.run(main())


def test_a_silent_client_says_so_and_a_paused_one_is_disconnected() -> None:
    async def main() -> None:
        async with running(silent_after_s=0.3) as bridge:
            (body,) = await bridge.clients.add()
            await until(lambda: all_live(bridge, 1))
            await bridge.links.put(body["id"], {"blackout": True})

            async def silent() -> bool:
                return bool((await bridge.clients.get(body["id"]))["state"] == "silent")

            await until(silent)
            await bridge.links.remove(body["id"])
            await until(lambda: all_live(bridge, 1))
            assert (await bridge.clients.change(body["id"], {"paused": True}))["state"] == "paused"

            async def gone() -> bool:
                return bool((await bridge.sessions.page())[1] == 0)

            await until(gone)

            async def settled() -> bool:
                return bool((await bridge.clients.get(body["id"]))["ledger"]["in_flight"] == 0)

            await until(settled)
            ledger = (await bridge.clients.get(body["id"]))["ledger"]
            assert closes(ledger)
            assert ledger["lost_by_cause"]["unexplained"] == 0
            await bridge.clients.change(body["id"], {"paused": False})
            await until(lambda: all_live(bridge, 1))

    asyncio.run(main())


def test_a_tap_yields_each_datagram_with_sequence_and_delay() -> None:
    async def main() -> None:
        async with running() as bridge:
            (body,) = await bridge.clients.add()
            with bridge.clients.tap(body["id"]) as tap:
                values = []
                async with asyncio.timeout(10):
                    async for value in tap:
                        values.append(value)
                        if len(values) == 10:
                            break
            sequences = [value["sequence"] for value in values]
            assert sequences == list(range(sequences[0], sequences[0] + 10))
            assert all(value["delay_ms"] >= 0 for value in values)

    asyncio.run(main())


def test_a_session_is_found_by_the_name_of_its_client_though_a_plain_connect_does_not_tell_it() -> None:
    async def main() -> None:
        async with running() as bridge:
            await bridge.clients.add(name="plain", mode="plain", count=2)
            await until(lambda: all_live(bridge, 2))
            ((found,), total) = await bridge.sessions.page(query="PLAIN-002 hosted")
            assert total == 1
            assert found["name"] == "plain-002"

    asyncio.run(main())


def test_one_raw_client_is_somebodys_own_session() -> None:
    async def main() -> None:
        async with running() as bridge:
            await bridge.clients.add(count=3)
            await until(lambda: all_live(bridge, 3))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
                raw.connect(bridge.udp_address)
                raw.send(b"connect")

                async def seen() -> bool:
                    return bool((await bridge.status())["sessions"] == {"total": 4, "raw": 1})

                await until(seen)
                listed, total = await bridge.sessions.page()
                assert total == 4
                assert [body["kind"] for body in listed] == ["raw", "hosted", "hosted", "hosted"]
                assert listed[0]["address"] == f"127.0.0.1:{raw.getsockname()[1]}"
                link = await bridge.links.put(listed[0]["id"], {"loss_ratio": 1})
                assert link["loss_ratio"] == 1
                assert (await bridge.links.summary())["sessions"] == 1
                await bridge.sessions.end(listed[0]["id"])
                assert (await bridge.links.summary())["sessions"] == 0

    asyncio.run(main())


def test_a_link_without_room_for_what_it_delays_says_so_before_and_counts_it_apart() -> None:
    async def main() -> None:
        async with running(link_queue_datagrams=50) as bridge:
            await bridge.clients.add(count=4, rate_hz=100)
            await until(lambda: all_live(bridge, 4))
            assert "warning" not in await bridge.links.put_default({"delay_ms": 10})
            answer = await bridge.links.put_default({"delay_ms": 500})
            assert "about 200 datagrams at once and has room for 50" in answer["warning"]

            async def told() -> bool:
                return any(one["why"] == "link-room" for one in (await bridge.status())["attention"])

            await until(told)
            room = (await bridge.links.summary())["room"]
            assert (room["datagrams"], room["needed"]) == (50, 200)
            assert 0 < room["turned_away"] <= bridge.counters()["link_turned_away_total"]
            await bridge.links.remove_default()
            assert "warning" not in await bridge.links.put_default({"loss_ratio": 0.5})

    asyncio.run(main())


class CountingStore(Store):
    """Counts its commits to links."""

    commits = 0

    def put_links(self, links: Mapping[str, Mapping[str, object] | None]) -> None:
        self.commits += 1
        super().put_links(links)

    def clear_links(self) -> None:
        self.commits += 1
        super().clear_links()


def test_links_of_many_are_set_and_cleared_in_one_transaction_whoever_goes_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        store = CountingStore.open(tmp_path)
        assert isinstance(store, CountingStore)
        async with running(store, clients=0) as bridge:
            ids = [body["id"] for body in await bridge.clients.add(count=1000, rate_hz=0.1)]
            await bridge.links.put_many(ids, {"loss_ratio": 0.5})
            await bridge.links.put_default({"delay_ms": 1})
            assert (await bridge.links.summary())["clients"] == 1000
            assert store.commits == 2
            await asyncio.gather(bridge.links.clear(), bridge.clients.remove(ids[0]), bridge.clients.remove(ids[500]))
            assert store.commits == 3
            bodies, total = await bridge.clients.page(limit=1000)
            assert total == 998
            assert {body["link"] for body in bodies} == {None}
            links = await bridge.links.summary()
            assert (links["default"], links["clients"], links["since_unix_ms"]) == (False, 0, None)
            with pytest.raises(RequestError):
                await bridge.links.put_many([ids[1], ids[0]], {"loss_ratio": 0.5})
            assert (await bridge.links.summary())["clients"] == 0

    asyncio.run(main())
    store = Store.open(tmp_path)
    assert (store.load().links, store.load().default_link) == ({}, None)
    store.close()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"target": "nowhere"}, "target"),
        ({"target": "127.0.0.1:80"}, "target"),
        ({"target": "8.8.8.8:5000"}, "target"),
        ({"target": "239.0.0.1:5000"}, "target"),
        ({"count": 999_999}, "count"),
        ({"name": "taken"}, "name"),
        ({"name": "日" * 25}, "name"),
        ({"name": "a" * 61, "count": 2}, "name"),
    ],
)
def test_what_cannot_be_names_its_field_and_adds_nothing(asked: dict[str, Any], field: str) -> None:
    async def main() -> None:
        async with running() as bridge:
            await bridge.clients.add(name="taken")
            with pytest.raises(RequestError) as caught:
                await bridge.clients.add(**asked)
            assert caught.value.field == field
            assert (await bridge.clients.page())[1] == 1

    asyncio.run(main())


def test_what_is_kept_of_thousands_is_there_although_nobody_waits_for_it_or_the_pool_is_too_busy(
    tmp_path: Path,
) -> None:
    """With a caller that leaves between two pieces, and a pool that takes nothing for a moment after the commit."""
    store = Store.open(tmp_path)

    async def main() -> None:
        async with running(store) as bridge:
            added = bridge.clients.add_in_pieces(count=1200)
            first = await anext(added)
            await added.aclose()
            assert len(first) < 1200
            _, there = await bridge.clients.page()
            assert there == 1200

            submit, refusals = bridge._assembly.pool.inbox.submit, iter(range(3))

            def full(work: Callable[[], Any]) -> Any:
                if next(refusals, None) is not None:
                    raise RequestError("too busy", kind="busy")
                return submit(work)

            bridge._assembly.pool.inbox.submit = full  # type: ignore[method-assign]
            assert len(await bridge.clients.add("late", count=2)) == 2

            leaving = asyncio.ensure_future(bridge.clients.add("left", count=600))
            while len(bridge._directory) < 1802:
                await asyncio.sleep(0)
            leaving.cancel()
            await until(lambda: has_clients(bridge, 1802))

    asyncio.run(main())


async def has_clients(bridge: Bridge, count: int) -> bool:
    _, there = await bridge.clients.page()
    return there == count


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async def first() -> list[str]:
        async with running(Store.open(tmp_path), clients=2) as bridge:
            (body,) = await bridge.clients.add(name="kept", rate_hz=33)
            await bridge.links.put(body["id"], {"loss_ratio": 0.5})
            await bridge.links.put_default({"delay_ms": 5})
            paused, gone = [one["id"] for one in (await bridge.clients.page())[0] if one["id"] != body["id"]]
            await bridge.clients.change(paused, {"paused": True})
            await bridge.clients.remove(gone)
            return [body["id"], paused]

    async def second(kept: str, paused: str) -> None:
        async with running(Store.open(tmp_path), clients=2) as bridge:
            listed, total = await bridge.clients.page()
            assert total == 2
            by_id = {body["id"]: body for body in listed}
            assert (by_id[kept]["name"], by_id[kept]["rate_hz"]) == ("kept", 33)
            assert by_id[kept]["link"]["loss_ratio"] == 0.5
            assert by_id[paused]["state"] == "paused"
            assert (await bridge.links.get_default() or {})["delay_ms"] == 5
            assert (await bridge.links.summary())["default"]

    asyncio.run(second(*asyncio.run(first())))


def test_a_client_whose_kept_name_fits_no_command_is_in_error_alone_until_it_is_renamed(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients(
        [KeptClient("c-1", "日" * 25, "", "auto", 20, 1, False), KeptClient("c-2", "good", "", "auto", 20, 1, False)]
    )

    async def main() -> None:
        async with running(store) as bridge:

            async def one_fails() -> bool:
                return (await bridge.clients.get("c-1"))["state"] == "error"

            await until(one_fails)
            assert "225" in (await bridge.clients.get("c-1"))["error"]
            await until(lambda: all_live(bridge, 1))
            await bridge.clients.change("c-1", {"name": "short"})
            await until(lambda: all_live(bridge, 2))
            assert (await bridge.clients.get("c-1"))["error"] is None
            assert bridge.counters()["thread_restarts_total"] == {"server": 0, "pool": 0}

    asyncio.run(main())


def kept_in(directory: Path, *clients: KeptClient) -> Store:
    store = Store.open(directory)
    store.add_clients(clients)
    return store


def test_a_kept_client_that_cannot_have_a_socket_is_in_error_with_its_reason_and_comes_alive_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_away = True

    def open_or_not(*arguments: Any, **options: Any) -> socket.socket:
        if is_away:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return open_client(*arguments, **options)

    monkeypatch.setattr("udprism.udp.client_sockets.open_client", open_or_not)
    paused = KeptClient("c-3", "paused", "", "auto", 20, 1, True)
    store = kept_in(tmp_path, *(KeptClient(f"c-{i}", f"n-{i}", "", "auto", 20, 1, False) for i in (1, 2)), paused)

    async def main() -> None:
        nonlocal is_away
        async with running(store) as bridge:
            states = {body["id"]: (body["state"], body["error"]) for body in (await bridge.clients.page())[0]}
            assert {states["c-1"][0], states["c-2"][0], states["c-3"][0]} == {"error", "paused"}
            assert "unreachable" in states["c-1"][1]
            assert "3 of 3 clients cannot start yet" in caplog.text
            is_away = False
            for one in ("c-1", "c-2", "c-3"):  # each would try by itself as well, in a while
                await bridge.clients.change(one, {"paused": False})
            await until(lambda: all_live(bridge, 3))
            assert {body["error"] for body in (await bridge.clients.page())[0]} == {None}

    asyncio.run(main())


def test_a_client_without_a_socket_tries_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([True, True])

    def fail_twice(*arguments: Any, **options: Any) -> socket.socket:
        if next(failures, False):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return open_client(*arguments, **options)

    monkeypatch.setattr("udprism.udp.client_sockets.open_client", fail_twice)

    async def main() -> None:
        async with running(kept_in(tmp_path, KeptClient("c-1", "one", "", "auto", 20, 1, False))) as bridge:
            await until(lambda: all_live(bridge, 1))

    asyncio.run(main())


def test_what_is_kept_beyond_the_most_clients_stays_on_the_disk_and_keeps_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def with_room_for(most: int) -> list[str]:
        async with running(Store.open(tmp_path), max_clients=most) as bridge:
            await until(lambda: all_live(bridge, min(most, 4)))
            with pytest.raises(RequestError):
                await bridge.clients.add(name="n-4")
            await bridge.clients.change("c-1", {"rate_hz": 33})
            return [body["id"] for body in (await bridge.clients.page())[0]]

    kept_in(tmp_path, *(KeptClient(f"c-{i}", f"n-{i}", "", "auto", 20, 1, False) for i in range(1, 5))).close()
    assert asyncio.run(with_room_for(3)) == ["c-1", "c-2", "c-3"]
    assert "1 of 4 stored clients were not loaded: max_clients (UDPRISM_MAX_CLIENTS) is 3" in caplog.text
    assert asyncio.run(with_room_for(5)) == ["c-1", "c-2", "c-3", "c-4"]


def test_damaged_rows_are_left_out_and_said_and_all_others_come_alive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept_in(tmp_path, *(KeptClient(f"c-{i}", f"n-{i}", "", "auto", 20, 1, False) for i in range(5))).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE clients SET rate_hz = 1e300 WHERE id = 'c-1'")
        connection.execute("UPDATE clients SET name = 'n-0' WHERE id = 'c-2'")
        connection.execute("INSERT INTO links VALUES ('c-3', '{\"loss_ratio\": 7}'), ('c-2', '{}')")
    connection.close()

    async def main() -> None:
        async with running(Store.open(tmp_path)) as bridge:
            await until(lambda: all_live(bridge, 3))
            assert {body["id"] for body in (await bridge.clients.page())[0]} == {"c-0", "c-3", "c-4"}
            assert bridge.counters()["store_rows_left_out"] == 3
            await bridge.clients.change("c-4", {"rate_hz": 33})

    asyncio.run(main())
    assert (
        "skipped damaged rows of the database: 3. client 'c-1': its rate_hz is 1e+300; link of 'c-3': loss_ratio"
        in caplog.text
    )


@pytest.mark.parametrize(("kept_bytes", "colours"), [(24, 480), (100, 480), (1472, 480), (1472, 1)])
def test_the_history_keeps_as_much_of_each_datagram_as_it_was_asked_to(kept_bytes: int, colours: int) -> None:
    async def main() -> None:
        async with running(history_payload_bytes=kept_bytes, max_clients=10) as bridge:
            (body,) = await bridge.clients.add(colours=colours)
            await until(lambda: all_live(bridge, 1))
            row = next(row for row in await bridge.clients.datagrams(body["id"], 10) if row["fate"] == "received")
            assert row["size_bytes"] == 20 + 3 * colours
            assert len(bytes.fromhex(row["payload_hex"])) == min(kept_bytes, row["size_bytes"])

    asyncio.run(main())


def test_ten_thousand_clients_are_added_in_one_call_and_all_come_alive() -> None:
    async def main() -> None:
        async with running(rate_hz=1) as bridge:
            bodies = await bridge.clients.add(count=10_000)
            assert len(bodies) == 10_000
            await until(lambda: all_live(bridge, 10_000), 240)  # seconds on an idle machine
            assert closes(await bridge.ledger())
            assert await bridge.clients.remove_many() == 10_000
            assert (await bridge.clients.page())[1] == 0
            whole = await bridge.ledger()
            assert (whole["sent"], whole["received"], whole["lost"]) == (0, 0, 0), "clients take their ledgers along"
            assert bridge.counters()["datagrams_received_total"] > 10_000, "a counter does not fall"

    asyncio.run(main())
