"""What the real NATS server lets a node of `udprism hub` say and hear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from support.nats import NatsServer, running_nats
from udprism.cli.hub import written
from udprism.node.mesh.plan import MeshPlan
from udprism.settings import Settings

DEADLINE_S = 20


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub")
    written(path, ["east", "west"], ["wall"], "127.0.0.1", 0)
    return path


@pytest.fixture(scope="module")
def server(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running_nats(tmp_path_factory.mktemp("nats"), (directory / "nats.conf").read_text()) as running:
        yield running


def id_of(directory: Path, name: str) -> str:
    settings = Settings(nats=["nats://127.0.0.1"], nats_creds=directory / f"{name}.key")
    return MeshPlan.of(settings, "unused").id


class Node:
    """A connection with a node's key, and the server's complaints."""

    def __init__(self) -> None:
        self.complaints: asyncio.Queue[str] = asyncio.Queue()
        self.client = Client()

    async def _complain(self, error: Exception) -> None:
        self.complaints.put_nowait(str(error).lower())

    async def connect(self, server: NatsServer, directory: Path, name: str) -> Client:
        seed = (directory / f"{name}.key").read_text().split()[-1]
        await self.client.connect(server.url, nkeys_seed_str=seed, allow_reconnect=False, error_cb=self._complain)
        return self.client

    async def is_refused(self) -> bool:
        async with asyncio.timeout(DEADLINE_S):
            return "permissions violation" in await self.complaints.get()


def test_a_stranger_is_not_let_in(server: NatsServer) -> None:
    async def connect() -> None:
        client = Client()
        with pytest.raises(nats.errors.Error):
            await client.connect(server.url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore)
        transport: Any = client._transport  # which nats-py leaves open then
        transport.close()
        await transport.wait_closed()

    asyncio.run(connect())


async def _ignore(error: Exception) -> None:
    """The exception says it too."""


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("west", "udprism.1.here.{east}"),
        ("west", "udprism.1.ask.{east}.{east}.read"),
        ("west", "udprism.1.do.{east}.{east}"),
        ("west", "_INBOX.{east}.anything.1"),
        ("west", "elsewhere"),
        ("wall", "udprism.1.do.{east}.{wall}"),
    ],
)
def test_a_node_cannot_say_what_is_not_its_own(server: NatsServer, directory: Path, name: str, subject: str) -> None:
    ids = {one: id_of(directory, one) for one in ("east", "west", "wall")}

    async def say() -> None:
        node = Node()
        client = await node.connect(server, directory, name)
        await client.publish(subject.format(**ids), b"x")
        assert await node.is_refused()
        await client.close()

    asyncio.run(say())


@pytest.mark.parametrize("subject", ["udprism.1.do.{east}.*", "udprism.1.ask.{east}.>", "_INBOX.{east}.>", ">"])
def test_a_node_cannot_hear_what_is_meant_for_another(server: NatsServer, directory: Path, subject: str) -> None:
    async def hear() -> None:
        node = Node()
        client = await node.connect(server, directory, "west")
        await client.subscribe(subject.format(east=id_of(directory, "east")))
        assert await node.is_refused()
        await client.close()

    asyncio.run(hear())


def test_a_node_answers_whom_it_was_asked_by_in_many_parts(server: NatsServer, directory: Path) -> None:
    east, west = id_of(directory, "east"), id_of(directory, "west")
    parts = 100

    async def converse() -> None:
        asker, answerer = Node(), Node()
        one, other = await asker.connect(server, directory, "east"), await answerer.connect(server, directory, "west")

        async def answer(message: Any) -> None:
            for number in range(parts):
                await other.publish(message.reply, str(number).encode())

        await other.subscribe(f"udprism.1.ask.{west}.*.read", cb=answer)
        await other.flush()
        inbox = await one.subscribe(f"_INBOX.{east}.x.*")
        await one.publish(f"udprism.1.ask.{west}.{east}.read", b"?", f"_INBOX.{east}.x.1")
        async with asyncio.timeout(DEADLINE_S):
            heard = [int((await inbox.next_msg(DEADLINE_S)).data) for _ in range(parts)]
        assert heard == list(range(parts))
        assert answerer.complaints.empty()
        await one.close()
        await other.close()

    asyncio.run(converse())


def test_keys_are_kept_and_only_their_owner_reads_them(directory: Path) -> None:
    before = (directory / "east.key").read_bytes()
    written(directory, ["east", "west"], ["wall"], "127.0.0.1", 0)
    assert (directory / "east.key").read_bytes() == before
    assert (directory / "east.key").stat().st_mode & 0o077 == 0
