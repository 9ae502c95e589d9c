"""What outlives a restart: hosted clients and links, in one SQLite file.

A change is acknowledged only after its commit, and a commit only after fsync (WAL, synchronous FULL). One connection
holds the file exclusively from open to close, which is also what keeps a second process out of the directory; the
kernel releases it when the process dies, however it dies.

Every method may be called from any thread, blocks for as long as the disk needs, and so belongs in
`asyncio.to_thread`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

from udprism.errors import StoreError
from udprism.node import kept
from udprism.node.kept import DEFAULT_LINK, Kept, KeptClient, KeptEndpoint

__all__ = ["DEFAULT_LINK", "FILE_NAME", "Kept", "KeptClient", "Store"]

log = logging.getLogger(__name__)

FILE_NAME = "udprism.sqlite3"
_LOCK_WAIT_S = 2.0
"""A predecessor that was told to stop has about this long to finish."""
_MOST_SCHEMAS_AHEAD = 64
"""A version beyond that is no newer udprism's, but a damaged header's."""
_CHANGES = (
    "INSERT INTO clients (id, name, target, mode, rate_hz, colours, paused) VALUES ('', '', '', '', 1, 1, 0)",
    "UPDATE clients SET name = 'x' WHERE id = ''",
    "DELETE FROM clients WHERE id = ''",
    "INSERT OR REPLACE INTO links VALUES ('', '')",
    "DELETE FROM links WHERE owner = ''",
    "INSERT OR REPLACE INTO facts VALUES ('', '')",
    "INSERT INTO endpoints (id, kind, body) VALUES ('', '', '') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    "DELETE FROM endpoints WHERE id = ''",
)
_TROUBLE_OF_DISKS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Not SQLITE_READONLY: that the file can be written was seen before, so it is the file's own header that forbids it."""

# MIGRATIONS[n] takes a file from schema version n to n + 1. Never edit one that was released: append.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE clients (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            target TEXT NOT NULL,
            mode TEXT NOT NULL,
            rate_hz REAL NOT NULL,
            colours INTEGER NOT NULL,
            paused INTEGER NOT NULL
        )""",
        "CREATE TABLE links (owner TEXT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
    (
        """CREATE TABLE endpoints (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            body TEXT NOT NULL
        )""",
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)


class _CorruptError(Exception):
    """The file is no database, or a damaged one."""


class Store:
    """One open file. Make it with `Store.open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, set_aside: Path | None) -> None:
        self.path = path
        self.set_aside = set_aside
        """Where a damaged predecessor of the file lies now; None if there was none."""
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open or create the file in `directory`, which is created if missing.

        A damaged file is renamed, never emptied, and a new one begun: see `set_aside`.

        Raises: StoreError if another process has the directory, it cannot be written, or the file was made by a
        newer udprism.
        """
        path = directory / FILE_NAME
        set_aside = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not os.access(path if path.exists() else directory, os.W_OK):  # SQLite would say "disk I/O error"
                raise StoreError(f"{path} cannot be written; --ephemeral serves without it and keeps nothing")
            try:
                connection = _connect(path)
            except _CorruptError:
                set_aside = _move_away(path)
                connection = _connect(path)
        except OSError as error:
            raise StoreError(f"{directory} cannot be used to keep anything: {error.strerror}") from error
        return cls(path, connection, set_aside)

    def load(self) -> Kept:
        """Everything that is kept, clients in the order in which they were added. Raises: StoreError."""
        with self._transaction() as connection:
            return _read(connection)

    def identity(self) -> str:
        """A random name of this file, made once and kept. Raises: StoreError, if it cannot be kept."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO facts VALUES ('identity', ?)", (secrets.token_hex(4),))
            (name,) = connection.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
            if not re.fullmatch("[0-9a-f]{8}", str(name)):
                name = secrets.token_hex(4)
                connection.execute("UPDATE facts SET value = ? WHERE name = 'identity'", (name,))
        return str(name)

    def add_clients(self, clients: Iterable[KeptClient]) -> None:
        """Keep new clients, all or none. Also with none: from now on a start is no first start.

        Raises: StoreError; then nothing was changed.
        """
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO clients (id, name, target, mode, rate_hz, colours, paused) VALUES (?, ?, ?, ?, ?, ?, ?)",
                map(astuple, clients),
            )
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('begun', '1')")

    def update_client(self, client: KeptClient) -> None:
        """Replace what is kept under `client.id`. Raises: StoreError; then nothing was changed."""
        id, *rest = astuple(client)
        with self._transaction() as connection:
            done = connection.execute(
                "UPDATE clients SET name = ?, target = ?, mode = ?, rate_hz = ?, colours = ?, paused = ? WHERE id = ?",
                (*rest, id),
            )
            self._require(done, 1)

    def remove_clients(self, ids: Iterable[str]) -> None:
        """Forget clients and their links, all or none. Raises: StoreError; then nothing was changed."""
        keys = [(id,) for id in ids]
        with self._transaction() as connection:
            self._require(connection.executemany("DELETE FROM clients WHERE id = ?", keys), len(keys))
            connection.executemany("DELETE FROM links WHERE owner = ?", keys)

    def put_links(self, links: Mapping[str, Mapping[str, object] | None]) -> None:
        """Keep links by owner, a client's id or DEFAULT_LINK; forget those that are None. All or none.

        Raises: StoreError; then nothing was changed.
        """
        kept = [(owner, json.dumps(dict(body))) for owner, body in links.items() if body is not None]
        gone = [(owner,) for owner, body in links.items() if body is None]
        with self._transaction() as connection:
            self._require(connection.executemany("INSERT OR REPLACE INTO links VALUES (?, ?)", kept), len(kept))
            connection.executemany("DELETE FROM links WHERE owner = ?", gone)

    def clear_links(self) -> None:
        """Forget all links. Raises: StoreError; then nothing was changed."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM links")

    def endpoints(self, kind: str) -> list[KeptEndpoint]:
        """All of one kind, in the order in which they were first kept. Raises: StoreError."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT id, body FROM endpoints WHERE kind = ? ORDER BY position", (kind,)
            ).fetchall()
        return [KeptEndpoint(str(id), kind, str(body)) for id, body in rows]

    def put_endpoint(self, endpoint: KeptEndpoint) -> None:
        """Keep a new one, or what has become of it. Raises: StoreError; then nothing was changed."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO endpoints (id, kind, body) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (endpoint.id, endpoint.kind, endpoint.body),
            )

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget one. Raises: StoreError; then nothing was changed."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))

    def close(self) -> None:
        """Let go of the file and its lock; any other call afterwards is a bug."""
        with self._lock:
            self._connection.close()

    def _require(self, done: sqlite3.Cursor, rows: int) -> None:
        """Raises: StoreError, which undoes the change, if it did not change so many rows."""
        if done.rowcount != rows:
            raise StoreError(
                f"{self.path} is damaged ({done.rowcount} rows of {rows} found): a start mends it or sets it aside"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back where the body or the commit itself fails
                yield self._connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what the disk or the file is to blame for into StoreError; a wrong statement stays a bug."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        if _code_of(error) == sqlite3.SQLITE_BUSY:
            raise StoreError(f"{path.parent} is in use by another udprism") from error
        raise StoreError(f"nothing can be kept in {path}: {error}") from error


def _code_of(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None if Python itself raised it, over text that is no UTF-8 for example."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _connect(path: Path) -> sqlite3.Connection:
    """Open, lock, check, migrate and read once. Raises: StoreError, _CorruptError.

    Everything that is no ordinary trouble of a disk is the file's: it may be damaged anywhere, its header and schema
    included, and SQLite has many words for that.
    """
    with _translated(path):
        connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
        # A row whose text is no UTF-8 is to be told from the others: such letters are not printable.
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _check(connection, path)
            _migrate(connection, path)
            _try_to_write(connection)
            _read(connection)
        except (
            UnicodeDecodeError
        ) as error:  # SQLite's words for what is wrong, with a piece of the damaged schema in it
            connection.close()
            raise _CorruptError from error
        except sqlite3.Error as error:
            connection.close()
            if _code_of(error) not in _TROUBLE_OF_DISKS:
                raise _CorruptError from error
            raise
        except (_CorruptError, StoreError):
            connection.close()
            raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """The whole file, indices against their tables. Raises: _CorruptError, sqlite3.Error.

    Indices can be made anew from their tables; without them a change may say that it was made and find no row.
    """
    found = _integrity(connection)
    if found != "ok":
        connection.execute("REINDEX")
        if _integrity(connection) != "ok":
            raise _CorruptError
        log.warning("%s was damaged and its indices were made anew: %s", path, " ".join(found.split()))


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Every kind of change, undone. Raises: _CorruptError, sqlite3.Error.

    A header may say that the file must not be written, and a schema may be damaged where only a write looks.
    """
    connection.execute("BEGIN IMMEDIATE")
    for statement in _CHANGES:
        if connection.execute(statement).rowcount != 1:
            raise _CorruptError
    connection.execute("ROLLBACK")  # nothing has reached the disk: a full one is no reason not to start


def _integrity(connection: sqlite3.Connection) -> str:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return str(found)


def _read(connection: sqlite3.Connection) -> Kept:
    clients = connection.execute(
        "SELECT id, name, target, mode, rate_hz, colours, paused FROM clients ORDER BY position"
    ).fetchall()
    links = connection.execute("SELECT owner, body FROM links").fetchall()
    begun = connection.execute("SELECT 1 FROM facts WHERE name = 'begun'").fetchone()
    return kept.read(clients, links, begun=begun is not None)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to SCHEMA_VERSION in one transaction, which also takes the write lock."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not 0 <= version < SCHEMA_VERSION + _MOST_SCHEMAS_AHEAD:
            raise _CorruptError
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer udprism (schema {version}; this one knows {SCHEMA_VERSION})"
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _move_away(path: Path) -> Path:
    """Rename the file and its journal; returns the new place of the file."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    aside = path.with_name(f"udprism.damaged-{stamp}.sqlite3")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"udprism.damaged-{stamp}-{number}.sqlite3")
    path.rename(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside
