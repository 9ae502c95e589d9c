"""The whole product as another process, for the bench: started, driven over REST, and weighed from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

_STARTED_WITHIN_S = 30.0
_STOPPED_WITHIN_S = 10.0
_REQUEST_S = 60.0
_THREADS = {"udprism-server": "server", "udprism-pool": "pool"}  # the others are the web app's, and helpers


class Product:
    """A running `udprism serve --ephemeral`. Raises: RuntimeError if it does not come up or ends too early."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One REST call's answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path.lstrip("/"), data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.status} {error.read().decode(errors='replace')}") from error
        return json.loads(text) if text else None

    def cpu_s(self) -> dict[str, float] | None:
        """Processor time so far by thread: server, pool, web, and by the link's process if there is one.

        None if the system does not tell.
        """
        tasks = Path(f"/proc/{self._process.pid}/task")
        if not tasks.is_dir():
            return None
        spent = {"server": 0.0, "pool": 0.0, "web": 0.0}
        for task in tasks.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                spent[_THREADS.get((task / "comm").read_text().strip(), "web")] += _spent_s(task)
                for child in (task / "children").read_text().split():
                    spent["link"] = spent.get("link", 0.0) + _spent_s(Path("/proc", child))
        return spent

    def rss_bytes(self) -> int | None:
        """Memory in use; None if the system does not tell."""
        statm = Path(f"/proc/{self._process.pid}/statm")
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None


def _spent_s(task: Path) -> float:
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(
    engine: str,
    max_clients: int,
    rate_hz: float,
    settings: Mapping[str, str] = MappingProxyType({}),
    data: Path | None = None,
) -> Iterator[Product]:
    """The product without a client, on free ports of loopback; ended on the way out.

    rate_hz: of streams whose clients cannot ask for a rate. settings: by environment variable. data: where it stores
    what it keeps; None for nowhere. It ends with this program, however that ends.
    """
    command = [sys.executable, "-c", "from udprism.cli.leash import run; run()", "serve"]
    command += ["--ephemeral"] if data is None else ["--data", str(data)]
    command += ["--engine", engine, "--clients", "0", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    command += ["--rate-hz", str(rate_hz)]
    room = {"UDPRISM_MAX_CLIENTS": str(max(max_clients, 10_000)), "UDPRISM_MAX_SESSIONS": str(max_clients + 10_000)}
    # What this shell has set for the product must not change what is measured.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UDPRISM_")}
    with subprocess.Popen(
        command, env=inherited | room | dict(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Product(process, _page(process))
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOPPED_WITHIN_S)
            process.kill()


def _page(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    deadline_s = time.monotonic() + _STARTED_WITHIN_S
    for line in process.stdout:
        what, _, text = line.strip().partition(" ")
        if what == "page":
            return text.strip()
        if time.monotonic() > deadline_s:
            break
    raise RuntimeError("udprism serve did not say where its page is")
