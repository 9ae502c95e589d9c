"""The REST model against a dictionary: any order of changes and restarts, and both say the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from udprism.errors import RequestError
from udprism.node.bridge import Bridge
from udprism.node.store import Store
from udprism.settings import Settings

T = TypeVar("T")
MAX_CLIENTS = 6
NAMES = st.sampled_from(["anna", "bert", "carla", "döner", "☂", "日" * 17, "a" * 64])
RATES = st.sampled_from([0.01, 1.0, 12.5, 1000.0])


class Model(RuleBasedStateMachine):
    """By id: name, rate, colours, paused, loss of the own link or None."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="bridge model")
        self.thread.start()
        self.model: dict[str, dict[str, Any]] = {}
        self.default_loss: float | None = None
        self.bridge = self.started()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model)))

    def started(self) -> Bridge:
        bounds = Settings(udp="127.0.0.1:0", clients=0, max_clients=MAX_CLIENTS, max_sessions=100)
        bridge = Bridge(bounds, Store.open(Path(self.directory.name)))
        bridge.start()
        return bridge

    @rule()
    def restarts(self) -> None:
        self.bridge.stop()
        self.bridge = self.started()

    @rule(name=NAMES, rate_hz=RATES, colours=st.sampled_from([1, 480]))
    def adds_one(self, name: str, rate_hz: float, colours: int) -> None:
        if len(self.model) == MAX_CLIENTS or self.is_taken(name):
            with pytest.raises(RequestError) as refused:
                self.do(self.bridge.clients.add(name=name, rate_hz=rate_hz, colours=colours))
            assert refused.value.kind in ("name-taken", "too-many-clients")
            return
        (body,) = self.do(self.bridge.clients.add(name=name, rate_hz=rate_hz, colours=colours))
        self.model[body["id"]] = {
            "name": name,
            "rate_hz": rate_hz,
            "colours": colours,
            "paused": False,
            "loss": None,
        }

    @rule(count=st.integers(2, 4))
    def adds_some(self, count: int) -> None:
        if len(self.model) + count > MAX_CLIENTS:
            with pytest.raises(RequestError):
                self.do(self.bridge.clients.add(count=count))
            return
        for body in self.do(self.bridge.clients.add(count=count)):
            assert not self.is_taken(body["name"])
            self.model[body["id"]] = {
                "name": body["name"],
                "rate_hz": 10.0,
                "colours": 1,
                "paused": False,
                "loss": None,
            }

    @precondition(lambda self: self.model)
    @rule(data=st.data(), changes=st.fixed_dictionaries({}, optional={"name": NAMES, "rate_hz": RATES}))
    def changes(self, data: st.DataObject, changes: dict[str, Any]) -> None:
        one = self.some(data)
        if self.is_taken(changes.get("name"), but_for=one):
            with pytest.raises(RequestError) as refused:
                self.do(self.bridge.clients.change(one, changes))
            assert refused.value.field == "name"
            return
        self.do(self.bridge.clients.change(one, changes))
        self.model[one] |= changes

    @precondition(lambda self: self.model)
    @rule(data=st.data(), paused=st.booleans())
    def pauses(self, data: st.DataObject, paused: bool) -> None:
        one = self.some(data)
        self.do(self.bridge.clients.change(one, {"paused": paused}))
        self.model[one]["paused"] = paused

    @precondition(lambda self: self.model)
    @rule(data=st.data(), loss=st.sampled_from([None, 0.0, 0.25, 1.0]))
    def links(self, data: st.DataObject, loss: float | None) -> None:
        one = self.some(data)
        if loss is None:
            self.do(self.bridge.links.remove(one))
        else:
            self.do(self.bridge.links.put(one, {"loss_ratio": loss}))
        self.model[one]["loss"] = loss

    @rule(loss=st.sampled_from([None, 0.0, 0.5]))
    def links_everybody(self, loss: float | None) -> None:
        if loss is None:
            self.do(self.bridge.links.remove_default())
        else:
            self.do(self.bridge.links.put_default({"loss_ratio": loss}))
        self.default_loss = loss

    @rule()
    def clears_links(self) -> None:
        self.do(self.bridge.links.clear())
        self.default_loss = None
        for one in self.model.values():
            one["loss"] = None

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def removes(self, data: st.DataObject) -> None:
        one = self.some(data)
        self.do(self.bridge.clients.remove(one))
        del self.model[one]
        with pytest.raises(RequestError) as unknown:
            self.do(self.bridge.clients.get(one))
        assert unknown.value.kind == "not-found"

    @rule()
    def removes_all(self) -> None:
        assert self.do(self.bridge.clients.remove_many()) == len(self.model)
        self.model.clear()

    @invariant()
    def both_say_the_same(self) -> None:
        bodies, total = self.do(self.bridge.clients.page())
        assert total == len(bodies)
        found = {
            body["id"]: {
                "name": body["name"],
                "rate_hz": body["rate_hz"],
                "colours": body["colours"],
                "paused": body["state"] == "paused",
                "loss": body["link"] and body["link"]["loss_ratio"],
            }
            for body in bodies
        }
        assert found == self.model
        default = self.do(self.bridge.links.get_default())
        assert (default and default["loss_ratio"]) == self.default_loss
        summary = self.do(self.bridge.links.summary())
        assert summary["clients"] == sum(bool(one["loss"]) for one in self.model.values())
        ledger = self.do(self.bridge.ledger())
        assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
        assert self.bridge.counters()["thread_restarts_total"] == {"server": 0, "pool": 0}

    def is_taken(self, name: str | None, but_for: str | None = None) -> bool:
        return any(one["name"] == name for client_id, one in self.model.items() if client_id != but_for)

    def teardown(self) -> None:
        self.bridge.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.directory.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
