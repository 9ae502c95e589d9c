"""Any order of changes, over any link: the ledger closes at every step, and nothing is unexplained in one process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from udprism.errors import RequestError
from udprism.node.bridge import Bridge
from udprism.settings import Settings

T = TypeVar("T")
MAX_CLIENTS = 4
RATE_HZ = 400
DEADLINE_S = 60.0
LINKS = {
    "none": None,
    "loss": {"loss_ratio": 0.3},
    "delay": {"delay_ms": 80, "jitter_ms": 40},
    "loss and delay": {"loss_ratio": 0.3, "delay_ms": 60},
    "blackout": {"blackout": True},
    "duplicates": {"duplicate_ratio": 0.5, "delay_ms": 30, "jitter_ms": 20},
    "damage": {"corrupt_ratio": 0.3, "corrupt_header": True, "delay_ms": 10},
    "queue": {"rate_kbit_s": 100, "queue_datagrams": 20},
}
GROWING = ("datagrams_received_total", "datagrams_lost_total", "datagrams_late_total")


class Model(RuleBasedStateMachine):
    """Clients of the server in the same process."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="ledger model")
        self.thread.start()
        self.bridge = Bridge(
            Settings(udp="127.0.0.1:0", clients=0, max_clients=MAX_CLIENTS, loss_after_s=0.2, rate_hz=RATE_HZ)
        )
        self.bridge.start()
        self.clients: list[str] = []
        self.paused: set[str] = set()
        self.counted = dict.fromkeys(GROWING, 0)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def wait_for(self, condition: Callable[[], object]) -> None:
        until_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < until_s, self.do(self.bridge.ledger())
            time.sleep(0.01)

    def sent(self) -> int:
        return int(self.bridge.counters()["datagrams_sent_total"])

    # -- what people do

    @initialize()
    def begins(self) -> None:
        self.adds(2)

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(count=st.integers(1, 2))
    def adds(self, count: int) -> None:
        count = min(count, MAX_CLIENTS - len(self.clients))
        self.clients += [body["id"] for body in self.do(self.bridge.clients.add(count=count))]

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def removes(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.clients))
        self.do(self.bridge.clients.remove(one))
        self.clients.remove(one)
        self.paused.discard(one)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def pauses_or_goes_on(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.clients))
        self.paused ^= {one}
        self.do(self.bridge.clients.change(one, {"paused": one in self.paused}))

    @rule(which=st.none() | st.integers(0, MAX_CLIENTS - 1))
    def ends_sessions(self, which: int | None) -> None:
        sessions, _ = self.do(self.bridge.sessions.page())
        ids = [session["id"] for session in sessions]
        for one in ids if which is None else ids[which : which + 1]:
            with contextlib.suppress(RequestError):  # over meanwhile
                self.do(self.bridge.sessions.end(one))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), link=st.sampled_from(sorted(LINKS)))
    def changes_a_link(self, data: st.DataObject, link: str) -> None:
        one, body = data.draw(st.sampled_from(self.clients)), LINKS[link]
        self.do(self.bridge.links.remove(one) if body is None else self.bridge.links.put(one, body))

    @rule(link=st.sampled_from(sorted(LINKS)))
    def changes_the_default_link(self, link: str) -> None:
        body = LINKS[link]
        self.do(self.bridge.links.remove_default() if body is None else self.bridge.links.put_default(body))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), rate_hz=st.sampled_from([50.0, 1000.0]))
    def changes_a_rate(self, data: st.DataObject, rate_hz: float) -> None:
        self.do(self.bridge.clients.change(data.draw(st.sampled_from(self.clients)), {"rate_hz": rate_hz}))

    @rule()
    def lets_it_run(self) -> None:
        """For a quarter of a second's worth of one stream, if anybody is served."""
        until_s, before = time.monotonic() + 0.5, self.sent()
        while self.sent() < before + RATE_HZ // 4 and time.monotonic() < until_s:
            time.sleep(0.01)

    # -- what must hold

    @invariant()
    def ledger_closes(self) -> None:
        bodies, _ = self.do(self.bridge.clients.page())
        whole = self.do(self.bridge.ledger())
        for ledger in [body["ledger"] for body in bodies if body["ledger"]["sent"] is not None]:
            assert_closes(ledger)
        assert_closes(whole)
        assert_closes(whole["departed"])
        assert whole["relayed"] + whole["conflated"] <= whole["received"]
        counters = self.bridge.counters()
        for name in GROWING:
            assert counters[name] >= self.counted[name]
            self.counted[name] = counters[name]
        assert counters["thread_restarts_total"] == {"server": 0, "pool": 0}
        assert counters["fate_reports_forgotten_total"] == counters["loss_reports_forgotten_total"] == 0

    def teardown(self) -> None:
        try:
            self.do(self.bridge.links.clear())
            for one in self.clients:
                self.do(self.bridge.clients.change(one, {"paused": True}))

            def settled() -> bool:
                whole = self.do(self.bridge.ledger())
                return bool(whole["in_flight"] == whole["departed"]["in_flight"] == 0)

            self.wait_for(settled)
            self.ledger_closes()
        finally:
            self.bridge.stop()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


def assert_closes(ledger: dict[str, Any]) -> None:
    causes = ledger["lost_by_cause"]
    assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
    assert ledger["lost"] == sum(causes.values())
    assert ledger["in_flight"] >= 0
    assert causes["unexplained"] == 0


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
