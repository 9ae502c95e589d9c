"""The store: what was acknowledged is there after anything that can happen to a process or a disk."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from udprism.errors import StoreError
from udprism.node.database import SCHEMA_VERSION
from udprism.node.store import FILE_NAME, Kept, KeptClient, Store


def client(number: int) -> KeptClient:
    return KeptClient(f"c-{number}", f"north-{number:03}", "127.0.0.1:12345", "auto", 10.0, 1, False)


def reloaded(directory: Path) -> Kept:
    store = Store.open(directory)
    kept = store.load()
    store.close()
    return kept


def test_a_new_directory_is_a_first_start_with_nothing_in_it(tmp_path: Path) -> None:
    assert reloaded(tmp_path / "made" / "here") == Kept([], {}, None, first_start=True)


def test_identity_is_kept_and_differs_between_directories(tmp_path: Path) -> None:
    names = []
    for directory in (tmp_path / "one", tmp_path / "one", tmp_path / "other"):
        store = Store.open(directory)
        names.append(store.identity())
        store.close()
    assert names[0] == names[1] != names[2]


def test_what_was_added_comes_back_whole_and_in_order(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    clients = [client(3), client(1), replace(client(2), paused=True, mode="plain", rate_hz=0.01, colours=480)]
    store.add_clients(clients)
    store.put_links({"c-1": {"loss_ratio": 0.25, "burst": None, "seed": 7}})
    store.put_links({"default": {"blackout": True}})
    store.close()
    assert reloaded(tmp_path) == Kept(
        clients, {"c-1": {"loss_ratio": 0.25, "burst": None, "seed": 7}}, {"blackout": True}, first_start=False
    )


def test_a_start_after_all_clients_were_removed_is_no_first_start(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([client(1)])
    store.remove_clients(["c-1"])
    store.close()
    assert reloaded(tmp_path) == Kept([], {}, None, first_start=False)


def test_a_first_start_with_no_clients_is_remembered(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([])
    store.close()
    assert not reloaded(tmp_path).first_start


def test_a_change_replaces_only_its_own_client(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([client(1), client(2)])
    changed = replace(client(2), name="south", rate_hz=40.0, paused=True)
    store.update_client(changed)
    store.close()
    assert reloaded(tmp_path).clients == [client(1), changed]


def test_removing_a_client_removes_its_link(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([client(1), client(2)])
    store.put_links({"c-1": {"blackout": True}})
    store.put_links({"c-2": {"blackout": False}})
    store.remove_clients(["c-1"])
    store.close()
    assert reloaded(tmp_path).links == {"c-2": {"blackout": False}}


def test_a_deleted_link_is_gone_and_deleting_it_twice_is_no_error(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.put_links({"default": {"blackout": True}})
    store.put_links({"default": None})
    store.put_links({"default": None})
    store.close()
    assert reloaded(tmp_path).default_link is None


def test_a_list_with_one_wrong_client_adds_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([client(1)])
    with pytest.raises(sqlite3.IntegrityError):
        store.add_clients([client(2), client(1)])
    store.close()
    assert reloaded(tmp_path).clients == [client(1)]


def test_ten_thousand_clients_are_one_commit(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients(client(number) for number in range(10_000))
    store.close()
    kept = reloaded(tmp_path).clients
    assert len(kept) == 10_000
    assert kept[9_999] == client(9_999)


def test_threads_may_write_at_the_same_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path)

    def add_twenty(first: int) -> None:
        for number in range(first, first + 20):
            store.add_clients([client(number)])

    threads = [threading.Thread(target=add_twenty, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert len(reloaded(tmp_path).clients) == 60


def test_a_second_store_on_the_same_directory_is_refused_until_the_first_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("udprism.node.database._LOCK_WAIT_S", 0.0)
    store = Store.open(tmp_path)
    script = f"""
from pathlib import Path
from udprism.node import database, store
database._LOCK_WAIT_S = 0.0
store.Store.open(Path({str(tmp_path)!r}))
"""
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "is in use by another udprism" in other.stderr
    with pytest.raises(StoreError, match="is in use by another udprism"):
        Store.open(tmp_path)
    store.add_clients([client(1)])
    store.close()
    assert reloaded(tmp_path).clients == [client(1)]


def spoil_the_header(path: Path) -> None:
    path.write_bytes(b"this is no database, " * 400)


def spoil_the_middle(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[4096 : 4096 * 3] = random.Random(1).randbytes(4096 * 2)
    path.write_bytes(whole)


def cut_off_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 3 + 100])


@pytest.mark.parametrize("spoil", [spoil_the_header, spoil_the_middle, cut_off_the_end])
def test_a_damaged_file_is_set_aside_untouched_and_a_new_one_begun(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    store = Store.open(tmp_path)
    store.add_clients(client(number) for number in range(500))
    store.close()
    spoil(tmp_path / FILE_NAME)
    damaged = (tmp_path / FILE_NAME).read_bytes()

    store = Store.open(tmp_path)
    assert store.load() == Kept([], {}, None, first_start=True)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes() == damaged
    store.add_clients([client(1)])
    store.close()
    assert reloaded(tmp_path).clients == [client(1)]


def filled(directory: Path, clients: int = 40) -> bytearray:
    """The bytes of a file with clients and links."""
    store = Store.open(directory)
    store.add_clients(client(number) for number in range(clients))
    store.put_links({"c-3": {"loss_ratio": 0.5}})
    store.put_links({"default": {"delay_ms": 5}})
    store.close()
    return bytearray((directory / FILE_NAME).read_bytes())


def takes_changes(directory: Path) -> None:
    """The file opens, or is set aside; of its clients each can be changed, and the change is there after a restart."""
    store = Store.open(directory)
    there = store.load().clients
    for one in there:
        store.update_client(replace(one, rate_hz=33.0))
    store.add_clients([replace(client(100), name="new")])
    store.remove_clients(["c-100"])
    store.close()
    after = reloaded(directory)
    assert after.clients == [replace(one, rate_hz=33.0) for one in there]


USER_VERSION_BITS = range(60 * 8, 64 * 8)
"""sqlite.org/fileformat.html: big endian. Some of these bits make it look like a newer udprism's."""


@pytest.mark.parametrize("seed", range(6))
def test_a_file_with_any_bit_flipped_can_be_worked_with_or_is_set_aside(tmp_path: Path, seed: int) -> None:
    whole, chance = filled(tmp_path), random.Random(seed)
    used = [place for place, byte in enumerate(whole) if byte]  # most of the file is empty
    for _ in range(20):
        bit = 8 * chance.choice(used) + chance.randrange(8)
        if bit in USER_VERSION_BITS:
            continue
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / FILE_NAME).write_bytes(flipped)
        takes_changes(tmp_path)


@pytest.mark.parametrize("table", ["clients", "links", "facts", "endpoints", "commands"])
def test_a_column_with_a_damaged_name_is_seen_at_the_start(tmp_path: Path, table: str) -> None:
    whole = filled(tmp_path)
    begins = whole.index(f"CREATE TABLE {table}".encode())
    names = [name for name in (b"position", b"body", b"value") if name in whole[begins : whole.index(b")", begins)]]
    whole[whole.index(names[0], begins)] ^= 1
    (tmp_path / FILE_NAME).write_bytes(whole)
    store = Store.open(tmp_path)
    assert store.set_aside is not None
    assert (store.endpoints("receiver"), store.commands()) == ([], {})
    store.close()


def test_a_column_s_name_in_other_letters_is_the_same_name(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    whole[whole.index(b"position", whole.index(b"CREATE TABLE clients"))] ^= 0x20
    (tmp_path / FILE_NAME).write_bytes(whole)
    assert len(reloaded(tmp_path).clients) == 40


BITS = {
    "write version, of which SQLite says nothing before a write": 18 * 8,
    "read version": 19 * 8 + 3,
    "schema format": 44 * 8 + 31,
    "text encoding": 56 * 8 + 31,
    "user version 0": 60 * 8 + 25,
    "a user version that nobody will have": 60 * 8 + 8,
    "a negative user version": 60 * 8 + 7,
    "a schema that only a write looks at": 29_269,
    "a schema that SQLite quotes in words that are no UTF-8": 29_215,
}


@pytest.mark.parametrize("bit", BITS.values(), ids=list(BITS))
def test_a_file_with_a_damaged_header_or_schema_is_worked_with_or_set_aside(tmp_path: Path, bit: int) -> None:
    whole = filled(tmp_path)
    whole[bit // 8] ^= 1 << bit % 8
    (tmp_path / FILE_NAME).write_bytes(whole)
    takes_changes(tmp_path)


def test_an_index_that_has_lost_a_client_is_made_anew_from_its_table(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    places = [place for place in range(len(whole)) if whole.startswith(b"c-17", place)]
    assert len(places) == 2, "once in the table, once in its index"
    for place in places:
        flipped = bytearray(whole)
        flipped[place + 3] ^= 0x40  # "c-1w"
        (tmp_path / FILE_NAME).write_bytes(flipped)
        store = Store.open(tmp_path)
        assert store.set_aside is None
        store.close()
        takes_changes(tmp_path)


def test_a_row_with_text_that_is_no_utf_8_is_left_out_alone(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    place = whole.index(b"north-017")
    whole[place] = 0xFF
    (tmp_path / FILE_NAME).write_bytes(whole)
    kept = reloaded(tmp_path)
    assert len(kept.clients) == 39
    (line,) = kept.left_out
    assert "c-17" in line


def test_a_change_that_finds_no_row_is_no_change(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add_clients([client(1), client(2)])
    for change in (
        lambda: store.update_client(client(3)),
        lambda: store.remove_clients(["c-1", "c-3"]),
    ):
        with pytest.raises(StoreError, match="damaged"):
            change()
    store.close()
    assert reloaded(tmp_path).clients == [client(1), client(2)]


def test_a_damaged_identity_is_replaced_by_another_that_stays(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.identity()
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE facts SET value = 'a;\n' WHERE name = 'identity'")
    connection.close()
    store = Store.open(tmp_path)
    identity = store.identity()
    assert identity == store.identity()
    assert identity.isalnum()
    store.close()


def test_two_damaged_files_in_one_second_are_both_kept(tmp_path: Path) -> None:
    places = set()
    for content in (b"first damaged file, " * 100, b"second damaged file, " * 100):
        (tmp_path / FILE_NAME).write_bytes(content)
        store = Store.open(tmp_path)
        store.close()
        assert store.set_aside is not None
        assert store.set_aside.read_bytes() == content
        places.add(store.set_aside)
    assert len(places) == 2


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer udprism"):
        Store.open(tmp_path)
    assert list(tmp_path.glob("*damaged*")) == []


def test_a_file_of_an_older_version_is_migrated_with_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from udprism.node import database as module

    store = Store.open(tmp_path)
    store.add_clients([client(1)])
    store.close()
    added = (*module.MIGRATIONS, ("ALTER TABLE clients ADD COLUMN palette TEXT NOT NULL DEFAULT 'basic'",))
    monkeypatch.setattr(module, "MIGRATIONS", added)
    monkeypatch.setattr(module, "SCHEMA_VERSION", len(added))
    store = Store.open(tmp_path)
    assert store.load().clients == [client(1)]
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("SELECT palette FROM clients").fetchall() == [("basic",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    connection.close()


def test_a_directory_that_cannot_be_made_is_refused_in_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used to store anything"):
        Store.open(tmp_path / "file" / "below")


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from udprism.errors import StoreError
    from udprism.node.store import KeptClient, Store

    def batch(first):
        return [KeptClient(f"c-{first + i}", "x" * 60, "127.0.0.1:1", "auto", 1.0, 1, False) for i in range(200)]

    store = Store.open(Path(sys.argv[1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    acknowledged, refused = [], 0
    for first in range(0, 8_000, 200):
        try:
            store.add_clients(batch(first))
            acknowledged.append(first)
        except StoreError:
            refused += 1
    assert acknowledged and refused, (acknowledged, refused)
    assert len(store.load().clients) == 200 * len(acknowledged)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.add_clients(batch(1_000_000))
    store.close()
    print(200 * len(acknowledged) + 200)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(reloaded(tmp_path).clients) == int(done.stdout)


WRITER = """
    import sys
    from pathlib import Path
    from udprism.node.store import KeptClient, Store

    store = Store.open(Path(sys.argv[1]))
    first = int(sys.argv[2])
    for number in range(first, first + 100_000):
        store.add_clients([KeptClient(f"c-{number}", "n", "127.0.0.1:1", "auto", 1.0, 1, False)])
        print("added", number, flush=True)
        if number % 3 == 0:
            store.remove_clients([f"c-{number}"])
            print("removed", number, flush=True)
"""


def test_a_process_killed_at_any_moment_loses_nothing_acknowledged_and_revives_nothing(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    chance = random.Random(20)
    for kill in range(int(os.environ.get("UDPRISM_TEST_KILLS", "5"))):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(kill * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 60))]
            writer.kill()
            lines += writer.stdout.readlines()
        acknowledged.update(line.strip() for line in lines if line.endswith("\n"))

        there = {client.id for client in reloaded(tmp_path).clients}
        for line in acknowledged:
            what, number = line.split()
            if what == "removed":
                assert f"c-{number}" not in there
            elif int(number) % 3:  # the others may have been removed without having had the time to say so
                assert f"c-{number}" in there
    assert any(line.startswith("removed") for line in acknowledged)


def test_a_place_that_lets_nobody_write_is_named_before_sqlite_calls_it_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere but on a read-only disk
    with pytest.raises(StoreError, match="cannot be written; --ephemeral"):
        Store.open(tmp_path)
