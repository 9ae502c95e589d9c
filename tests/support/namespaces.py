"""Network namespaces: machines of their own on this one, whose addresses may change without harm to anybody."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

DEADLINE_S = 30
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_number = count()


@dataclass(frozen=True)
class Namespace:
    """A network stack with interfaces, addresses and routes of its own."""

    name: str

    def ip(self, words: str) -> None:
        """`ip` inside: `addr add 192.0.2.1/24 dev lo`. Fails the test if the command fails."""
        done = _run("ip", "-n", self.name, *words.split())
        assert done.returncode == 0, f"ip {words}: {done.stderr}"

    def command(self, *words: str) -> tuple[str, ...]:
        """The command line that runs `words` inside."""
        return ("ip", "netns", "exec", self.name, *words)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and those that it starts, are inside meanwhile: their sockets belong here for good."""
        with open("/proc/thread-self/ns/net") as outside, open(f"/run/netns/{self.name}") as inside:
            _set_namespace(inside.fileno())
            try:
                yield
            finally:
                _set_namespace(outside.fileno())


@contextmanager
def namespace() -> Iterator[Namespace]:
    """One with nothing but loopback. Skips the test if there can be none here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip (iproute2)")
    one = Namespace(f"udprism-{os.getpid()}-{next(_number)}")
    made = _run("ip", "netns", "add", one.name)
    if made.returncode != 0:
        pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
    try:
        one.ip("link set lo up")
        yield one
    finally:
        _run("ip", "netns", "del", one.name)


@contextmanager
def two_machines() -> Iterator[tuple[Namespace, Namespace]]:
    """Two of them, each with an interface `wire` that is joined to the other's; without addresses."""
    with namespace() as here, namespace() as there:
        here.ip(f"link add wire type veth peer name wire netns {there.name}")
        for one in (here, there):
            one.ip("link set wire up")
        yield here, there


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
