"""What outlives a restart: hosted clients and links, in one SQLite file.

A change is acknowledged only after its commit, and a commit only after fsync (WAL, synchronous FULL). One connection
holds the file exclusively from open to close, which is also what keeps a second process out of the directory; the
kernel releases it when the process dies, however it dies.

Every method may be called from any thread, blocks for as long as the disk needs, and so belongs in
`asyncio.to_thread`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple
from pathlib import Path

from udprism.errors import StoreError
from udprism.node import kept
from udprism.node.database import CorruptError, connect, move_away, translated
from udprism.node.kept import DEFAULT_LINK, Kept, KeptClient, KeptEndpoint

__all__ = ["DEFAULT_LINK", "FILE_NAME", "Kept", "KeptClient", "Store"]

FILE_NAME = "udprism.sqlite3"
command: ContextVar[str | None] = ContextVar("command", default=None)
"""The id of the command from another node on whose behalf the store is written: kept in the same transaction."""
_KEPT_COMMANDS = 1024


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
                raise StoreError(f"{path} cannot be written; --ephemeral serves without it and stores nothing")
            try:
                connection = connect(path, _read)
            except CorruptError:
                set_aside = move_away(path)
                connection = connect(path, _read)
        except OSError as error:
            raise StoreError(f"{directory} cannot be used to store anything: {error.strerror}") from error
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
        with self._change() as connection:
            connection.executemany(
                "INSERT INTO clients (id, name, target, mode, rate_hz, colours, paused) VALUES (?, ?, ?, ?, ?, ?, ?)",
                map(astuple, clients),
            )
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('begun', '1')")

    def update_client(self, client: KeptClient) -> None:
        """Replace what is kept under `client.id`. Raises: StoreError; then nothing was changed."""
        id, *rest = astuple(client)
        with self._change() as connection:
            done = connection.execute(
                "UPDATE clients SET name = ?, target = ?, mode = ?, rate_hz = ?, colours = ?, paused = ? WHERE id = ?",
                (*rest, id),
            )
            self._require(done, 1)

    def remove_clients(self, ids: Iterable[str]) -> None:
        """Forget clients and their links, all or none. Raises: StoreError; then nothing was changed."""
        keys = [(id,) for id in ids]
        with self._change() as connection:
            self._require(connection.executemany("DELETE FROM clients WHERE id = ?", keys), len(keys))
            connection.executemany("DELETE FROM links WHERE owner = ?", keys)

    def put_links(self, links: Mapping[str, Mapping[str, object] | None]) -> None:
        """Keep links by owner, a client's id or DEFAULT_LINK; forget those that are None. All or none.

        Raises: StoreError; then nothing was changed.
        """
        kept = [(owner, json.dumps(dict(body))) for owner, body in links.items() if body is not None]
        gone = [(owner,) for owner, body in links.items() if body is None]
        with self._change() as connection:
            self._require(connection.executemany("INSERT OR REPLACE INTO links VALUES (?, ?)", kept), len(kept))
            connection.executemany("DELETE FROM links WHERE owner = ?", gone)

    def clear_links(self) -> None:
        """Forget all links. Raises: StoreError; then nothing was changed."""
        with self._change() as connection:
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
        with self._change() as connection:
            connection.execute(
                "INSERT INTO endpoints (id, kind, body) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (endpoint.id, endpoint.kind, endpoint.body),
            )

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget one. Raises: StoreError; then nothing was changed."""
        with self._change() as connection:
            connection.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))

    def commands(self) -> dict[str, str | None]:
        """Commands of other nodes that were done lately, with their answers as they were kept. Raises: StoreError."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT id, reply FROM commands").fetchall()
        return {str(id): None if reply is None else str(reply) for id, reply in rows}

    def put_reply(self, command_id: str, reply: str) -> None:
        """Keep the answer of a command that changed something; nothing for one that did not. Raises: StoreError."""
        with self._transaction() as connection:
            connection.execute("UPDATE commands SET reply = ? WHERE id = ?", (reply, command_id))

    def close(self) -> None:
        """Close the file and release its lock; any other call afterwards is a bug."""
        with self._lock:
            self._connection.close()

    def _require(self, done: sqlite3.Cursor, rows: int) -> None:
        """Raises: StoreError, which undoes the change, if another number of rows changed."""
        if done.rowcount != rows:
            raise StoreError(
                f"{self.path} is damaged ({done.rowcount} rows of {rows} found): a start mends it or sets it aside"
            )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also keeps the id of the command that it is done for, and only the newest ids."""
        with self._transaction() as connection:
            yield connection
            id = command.get()
            if id is not None:
                connection.execute("INSERT OR IGNORE INTO commands (id) VALUES (?)", (id,))
                connection.execute(
                    "DELETE FROM commands WHERE position <= (SELECT max(position) FROM commands) - ?", (_KEPT_COMMANDS,)
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back where the body or the commit itself fails
                yield self._connection


def _read(connection: sqlite3.Connection) -> Kept:
    clients = connection.execute(
        "SELECT id, name, target, mode, rate_hz, colours, paused FROM clients ORDER BY position"
    ).fetchall()
    links = connection.execute("SELECT owner, body FROM links").fetchall()
    begun = connection.execute("SELECT 1 FROM facts WHERE name = 'begun'").fetchone()
    return kept.read(clients, links, begun=begun is not None)
