"""The installed command, started and stopped as a person would."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from udprism.cli.scenario import EXIT_VOID

DEADLINE_S = 30.0
"""For what takes a second on an idle machine."""
COMMAND = (sys.executable, "-m", "udprism")
ANY_PORTS = ("--udp", "127.0.0.1:0", "--http", "127.0.0.1:0")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Program:
    """A running `udprism`."""

    process: subprocess.Popen[str]
    page: str = ""
    """`http://127.0.0.1:PORT`"""
    udp: tuple[str, int] = ("", 0)
    output: list[str] = field(default_factory=list)

    def get(self, path: str) -> Any:
        """The JSON at a path of the REST API."""
        return self.ask("GET", path)

    def text(self, path: str) -> str:
        """What a path answers, as it is."""
        with _DIRECT.open(self.page + path, timeout=DEADLINE_S) as answer:
            content: bytes = answer.read()
        return content.decode()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; the answer's JSON, or None where it is empty. Raises: urllib.error.HTTPError."""
        return self.ask_bytes(method, path, None if body is None else json.dumps(body).encode())

    def ask_bytes(self, method: str, path: str, body: bytes | None) -> Any:
        """`ask` with a body that is sent as it is."""
        request = urllib.request.Request(self.page + path, body, {"Content-Type": "application/json"}, method=method)
        with _DIRECT.open(request, timeout=DEADLINE_S) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=DEADLINE_S, env=_environment(environment)
    )


def judged(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`udprism run WORDS…`, until this machine has kept the schedule once, so that there is a verdict."""
    until_s = time.monotonic() + 4 * DEADLINE_S
    while (done := run("run", *words, **environment)).returncode == EXIT_VOID:
        assert time.monotonic() < until_s, done.stdout + done.stderr
    return done


@contextmanager
def running(*words: str, command: tuple[str, ...] = COMMAND, **environment: str) -> Iterator[Program]:
    """`udprism WORDS…` from the moment that its banner names the UDP port; killed at the end, unless it has ended.

    Pass ports as 0: the kernel chooses, the banner tells.
    """
    process = subprocess.Popen(
        [*command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(environment),
    )
    assert process.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), name="program output")
    reader.start()
    program = Program(process)
    try:
        while not program.udp[1]:
            try:
                line = lines.get(timeout=DEADLINE_S)
            except queue.Empty:
                raise AssertionError(f"nothing for {DEADLINE_S} s after: {''.join(program.output)}") from None
            if line is None:
                raise AssertionError(f"it ended with {process.wait()}: {''.join(program.output)}")
            program.output.append(line)
            if found := re.search(r"page +(http://\S+)", line):
                program.page = found[1].rstrip("/")
            if found := re.search(r"nc -u (\S+) (\d+)", line):
                program.udp = found[1], int(found[2])
        yield program
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        while not lines.empty():
            program.output.append(lines.get() or "")


@contextmanager
def serving(directory: Path, *words: str, **environment: str) -> Iterator[Program]:
    """`udprism serve` on ports of the kernel's choice, keeping its data in `directory`."""
    with running("serve", *ANY_PORTS, "--data", str(directory), *words, command=COMMAND, **environment) as program:
        yield program


@contextmanager
def ephemeral(*words: str, command: tuple[str, ...] = COMMAND, **environment: str) -> Iterator[Program]:
    """`udprism serve` on ports of the kernel's choice, keeping nothing."""
    with running("serve", *ANY_PORTS, "--ephemeral", *words, command=command, **environment) as program:
        yield program


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _environment(changes: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UDPRISM_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **changes}
