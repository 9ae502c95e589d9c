"""kill -9 at random moments while definitions change.

Promise: every change that was acknowledged is there afterwards, none that was taken back is, and the next program is
ready in two seconds.
"""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from support import program
from support.program import Program
from torture.figure import Figure
from torture.outside import cpu_s, is_ready, wait_until

KILLS = 500
DEFINITIONS = 10_000
READY_WITHIN_S = 2.0
_LONGEST_S = 0.4

Model = dict[str, tuple[str, float, bool, float | None]]
"""By id: name, rate, paused, and the loss of its own link."""


class _Changes(threading.Thread):
    """Changes one thing after the other until nobody answers; `doubtful` is the id that was being changed then."""

    def __init__(self, served: Program, model: Model, rng: Random) -> None:
        super().__init__(name="changes")
        self.acknowledged = 0
        self.doubtful: str | None = None
        """The id, or the name where it would be new, of what may have become either."""
        self._model = model
        self._rng = rng
        self._connection = http.client.HTTPConnection(served.page.removeprefix("http://"), timeout=30)

    def run(self) -> None:
        """Until the program is killed."""
        try:
            while True:
                self._change()
                self.doubtful = None
                self.acknowledged += 1
        except (OSError, http.client.HTTPException):
            self._connection.close()

    def _change(self) -> None:
        what = self._rng.choice(("add", "change", "change", "pause", "link", "unlink", "remove"))
        if what == "add" or not self._model:
            name = f"n{self._rng.randrange(1 << 60):x}"
            self.doubtful = name
            (made,) = self._ask("POST", "/api/clients", {"name": name, "rate_hz": 1.0})["clients"]
            self._model[made["id"]] = (name, 1.0, False, None)
            return
        one = self.doubtful = self._rng.choice(list(self._model))
        name, rate_hz, paused, loss = self._model[one]
        if what == "change":
            rate_hz = self._rng.randrange(1, 1000) / 100
            self._ask("PATCH", f"/api/clients/{one}", {"rate_hz": rate_hz})
        elif what == "pause":
            paused = not paused
            self._ask("PATCH", f"/api/clients/{one}", {"paused": paused})
        elif what == "link":
            loss = self._rng.random()
            self._ask("PUT", f"/api/links/{one}", {"loss_ratio": loss})
        elif what == "unlink":
            loss = None
            self._ask("DELETE", f"/api/links/{one}")
        else:
            self._ask("DELETE", f"/api/clients/{one}")
            del self._model[one]
            return
        self._model[one] = (name, rate_hz, paused, loss)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text) if text else None


def run(scale: float, rng: Random) -> Figure:
    """One directory, one program after the other."""
    kills, definitions = max(3, round(KILLS * scale)), round(DEFINITIONS * scale)
    room = {"UDPRISM_MAX_CLIENTS": str(definitions + 5 * kills)}  # more are added than removed, as chance has it
    model: Model = {}
    ready_s: list[float] = []
    own_s: list[float] = []
    wrong = acknowledged = 0
    doubtful: str | None = None
    with TemporaryDirectory() as directory:
        for number in range(kills + 1):
            began_s = monotonic()
            with program.serving(Path(directory), "--clients", "0", "--rate-hz", "1", **room) as served:
                wait_until(lambda: bool(is_ready(served)))
                ready_s.append(monotonic() - began_s)
                own_s.append(cpu_s(served.process.pid))
                found = _read(served)
                wrong += _differences(model, found, doubtful)
                model = found
                if number == 0:
                    served.ask("POST", "/api/clients", {"count": definitions, "rate_hz": 1.0})
                    model = _read(served)
                if number < kills:
                    changes = _Changes(served, model, rng)
                    changes.start()
                    changes.join(rng.random() * _LONGEST_S)
                    served.process.kill()
                    changes.join()
                    acknowledged += changes.acknowledged
                    doubtful = changes.doubtful
    ready_s.sort()
    return Figure(
        f"{kills} kills with {definitions:,} definitions: {acknowledged} changes acknowledged, {wrong} lost or risen; "
        f"ready after {ready_s[len(ready_s) // 2]:.1f} s (median), {ready_s[-1]:.1f} s at most, "
        f"{max(own_s):.1f} s of them its own CPU",
        wrong == 0 and acknowledged > kills and min(ready_s[-1], max(own_s)) <= READY_WITHIN_S,
    )


def _read(served: Program) -> Model:
    model: Model = {}
    total = 1
    while len(model) < total:
        page = served.get(f"/api/clients?limit=1000&offset={len(model)}")
        total = page["total"]
        for one in page["clients"]:
            loss = one["link"]["loss_ratio"] if one["link"] else None
            model[one["id"]] = (one["name"], one["rate_hz"], one["state"] == "paused", loss)
    return model


def _differences(expected: Model, found: Model, doubtful: str | None) -> int:
    """How many definitions are not what was acknowledged; the doubtful one may be either."""
    unlike = [
        one
        for one in expected.keys() | found.keys()
        if expected.get(one) != found.get(one) and doubtful not in (one, *found.get(one, ())[:1])
    ]
    return len(unlike)
