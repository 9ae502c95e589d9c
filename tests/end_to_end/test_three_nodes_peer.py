"""The README's lines from one machine to three, each typed in a network namespace of its own."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.namespaces import Namespace, namespace
from support.program import COMMAND, Program, running
from support.readme import block

PATIENCE_S = 60.0


@contextmanager
def three_machines() -> Iterator[list[Namespace]]:
    """10.77.0.1 to 10.77.0.3 on one network."""
    with ExitStack() as stack:
        machines = [stack.enter_context(namespace()) for _ in range(3)]
        first = machines[0]
        first.ip("link add lan type bridge")
        first.ip("addr add 10.77.0.1/24 dev lan")
        first.ip("link set lan up")
        for number, machine in enumerate(machines[1:], 2):
            first.ip(f"link add to{number} type veth peer name wire netns {machine.name}")
            first.ip(f"link set to{number} master lan")
            first.ip(f"link set to{number} up")
            machine.ip(f"addr add 10.77.0.{number}/24 dev wire")
            machine.ip("link set wire up")
        yield machines


def typed(line: str) -> tuple[str, ...]:
    """A line's words behind `udprism`."""
    program, *words = shlex.split(line, comments=True)
    assert program == "udprism"
    return tuple(words)


def states(machine: Namespace, program: Program) -> dict[str, Any]:
    with machine.entered():
        return {one["name"]: one["state"] for one in program.get("/api/nodes")["nodes"]}


@pytest.mark.slow
@pytest.mark.peer
def test_three_machines_see_each_other_over_tls_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, *serves = block("three machines").splitlines()
    monkeypatch.chdir(tmp_path)  # the files that are to be copied are the same ones here
    with ExitStack() as stack:
        machines = stack.enter_context(three_machines())
        process = subprocess.Popen(machines[0].command(*COMMAND, *typed(hub)), stdout=subprocess.PIPE, text=True)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        assert process.stdout is not None
        told = {(line := process.stdout.readline()).split()[0]: line for _ in serves}
        stack.callback(process.stdout.close)
        programs = []
        for number, (machine, line) in enumerate(zip(machines, serves, strict=True)):
            words = typed(line)
            assert shlex.join(("udprism", *words)) in told[words[-1]]
            command, data = machine.command(*COMMAND), str(tmp_path / f"data{number}")
            programs.append(stack.enter_context(running(*words, command=command, UDPRISM_DATA=data)))
        names = {"east", "west", "north"}
        until_s = time.monotonic() + PATIENCE_S
        for machine, program in zip(machines, programs, strict=True):
            while states(machine, program) != dict.fromkeys(names, "live"):
                assert time.monotonic() < until_s, states(machine, program)
                time.sleep(0.1)
        with machines[2].entered():
            there = programs[2].get("/api/clients?node=west")
        assert there["total"] == 10
        assert {one["node"] for one in there["clients"]} == {there["node"]}
