"""The certificate of `hub`, and what a node takes for its server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import nats.errors
import pytest

from support.nats import running_nats
from udprism.cli.certificate import certificate
from udprism.cli.hub import written
from udprism.node.mesh.plan import MeshPlan
from udprism.node.mesh.transport import options, thrown_away

ID = "n-0123456789ab"


async def connected(plan: MeshPlan) -> None:
    from nats.aio.client import Client

    client = Client()
    try:
        await client.connect(**options(plan, "test"))
        await client.flush(2)
    finally:
        await thrown_away(client)


def plan_of(directory: Path, port: int, host: str = "127.0.0.1", ca: Path | None = None) -> MeshPlan:
    url = f"tls://{host}:{port}"
    return MeshPlan((url,), ID, "west", directory / "west.key", directory / "ca.pem" if ca is None else ca)


def test_a_certificate_is_kept_until_it_is_for_another_host(tmp_path: Path) -> None:
    first = certificate(tmp_path, "192.0.2.1").cert.read_bytes()
    assert certificate(tmp_path, "192.0.2.1").cert.read_bytes() == first
    assert certificate(tmp_path, "hub.example").cert.read_bytes() != first
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0
    strict = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    assert strict.cert_store_stats()["x509_ca"] == 1


def test_a_node_takes_the_server_with_its_certificate_and_no_other(tmp_path: Path) -> None:
    """Against the real nats-server, which speaks TLS from the first byte."""
    hub, other, server = tmp_path / "hub", tmp_path / "other", tmp_path / "server"
    for directory in (hub, other, server):
        directory.mkdir()
    config = written(hub, ["west"], (), "127.0.0.1", 4222, certificate(hub, "127.0.0.1")).read_text()
    own = "\n".join(line for line in config.splitlines() if not line.startswith("listen"))
    with running_nats(server, own) as running:
        asyncio.run(connected(plan_of(hub, running.port)))
        wrong: list[Callable[[], MeshPlan]] = [
            lambda: plan_of(hub, running.port, ca=certificate(other, "127.0.0.1").ca),
            lambda: plan_of(hub, running.port, host="localhost"),  # not the name that it is for
        ]
        for plan in wrong:
            with pytest.raises((ssl.SSLError, nats.errors.Error, OSError)) as refused:
                asyncio.run(connected(plan()))
            assert "certificate" in str(refused.value).lower()


def test_a_server_without_tls_never_hears_the_key(tmp_path: Path) -> None:
    """nats-py alone takes a server's word that no TLS is needed, and sends credentials in clear."""
    certificate(tmp_path, "127.0.0.1")
    heard = bytearray()

    async def play() -> None:
        async def false_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"nonce":"abc"}\r\n')
            while data := await reader.read(4096):
                heard.extend(data)
            writer.close()

        async with await asyncio.start_server(false_server, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            written(tmp_path, ["west"], (), "127.0.0.1", port)
            with pytest.raises((ssl.SSLError, nats.errors.Error, OSError, TimeoutError)):
                await asyncio.wait_for(connected(plan_of(tmp_path, port)), 5)

    asyncio.run(play())
    assert heard[:1] == b"\x16"  # a TLS handshake, and nothing in clear
    assert b"CONNECT" not in heard
    assert b"nkey" not in heard
