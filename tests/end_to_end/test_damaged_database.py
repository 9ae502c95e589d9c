"""The whole program on a database with one bit flipped, 300 times: it starts, keeps what it says, and ends with 0."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.error import HTTPError

import pytest

from support.program import Program, serving
from udprism.node.store import FILE_NAME, KeptClient, Store

pytestmark = pytest.mark.endurance  # two to three seconds for each of 300 starts

BITS = 300
CLIENTS = 40
NOT_KEPT = 507


def filled(directory: Path) -> bytes:
    """The bytes of a database with 40 clients and a link for every fourth."""
    store = Store.open(directory)
    store.identity()
    kept = [
        KeptClient(f"c-{n}", f"north-{n:03}", "127.0.0.1:12345", "auto", 1.0, 1, n % 2 == 0) for n in range(CLIENTS)
    ]
    store.add_clients(kept)
    store.put_links({client.id: {"loss_ratio": 0.25, "seed": 7} for client in kept[::4]})
    store.close()
    return (directory / FILE_NAME).read_bytes()


def changed(program: Program) -> dict[str, float]:
    """Change the rate of the first, the middle and the last client. Returns the rates that were acknowledged, by id."""
    clients = program.get("/api/clients?limit=1000")["clients"]
    acknowledged = {}
    for client in {place: clients[place] for place in (0, len(clients) // 2, -1)}.values() if clients else ():
        try:
            answer = program.ask("PATCH", f"/api/clients/{client['id']}", {"rate_hz": 7.0})
        except HTTPError as refused:
            if refused.code != NOT_KEPT:
                raise
            continue
        acknowledged[answer["id"]] = answer["rate_hz"]
    return acknowledged


def test_one_flipped_bit_never_ends_the_program_nor_takes_back_what_it_acknowledged(tmp_path: Path) -> None:
    whole, chance = filled(tmp_path), random.Random(20261128)
    used = [8 * place + bit for place, byte in enumerate(whole) if byte for bit in range(8)]
    faults, set_aside = [], 0
    for bit in chance.sample(used, BITS):
        data = tmp_path / f"bit-{bit}"
        data.mkdir()
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (data / FILE_NAME).write_bytes(flipped)
        try:
            with serving(data, "--clients", "0") as program:
                acknowledged = changed(program)
                ended = program.end()
            store = Store.open(data)
            kept = {client.id: client.rate_hz for client in store.load().clients}
            store.close()
            assert ended == 0, program.output
            assert {client: kept.get(client) for client in acknowledged} == acknowledged
        except (AssertionError, OSError) as fault:
            faults.append((bit, fault))
            print(bit, fault, flush=True)
        set_aside += any(data.glob("udprism.damaged-*"))
    print(f"{BITS} bits, seed 20261128: {len(faults)} faults, {set_aside} files set aside")
    assert not faults
