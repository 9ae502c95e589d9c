"""The SQLite file of the store: opened, locked, checked, brought to today's schema, or moved away."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from udprism.errors import StoreError

log = logging.getLogger(__name__)

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
    "INSERT INTO commands (id) VALUES ('')",
    "DELETE FROM commands WHERE id = ''",
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
    ("CREATE TABLE commands (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, reply TEXT)",),
)
SCHEMA_VERSION = len(MIGRATIONS)


class CorruptError(Exception):
    """The file is no database, or a damaged one."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the disk or the file is to blame for into StoreError; a wrong statement stays a bug."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        if _code_of(error) == sqlite3.SQLITE_BUSY:
            raise StoreError(f"{path.parent} is in use by another udprism") from error
        raise StoreError(f"cannot store anything in {path}: {error}") from error


def _code_of(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None if Python itself raised it, over text that is no UTF-8 for example."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def connect(path: Path, read: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    """Open, lock, check, migrate and read once with `read`. Raises: StoreError, CorruptError.

    Everything that is no ordinary trouble of a disk is the file's: it may be damaged anywhere, its header and schema
    included, and SQLite has many words for that.
    """
    with translated(path):
        connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
        # A row whose text is no UTF-8 is to be told from the others: such letters are not printable.
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _check(connection, path)
            _migrate(connection, path)
            _require_columns(connection)
            _try_to_write(connection)
            read(connection)
        except (
            UnicodeDecodeError
        ) as error:  # SQLite's words for what is wrong, with a piece of the damaged schema in it
            connection.close()
            raise CorruptError from error
        except sqlite3.Error as error:
            connection.close()
            if _code_of(error) not in _TROUBLE_OF_DISKS:
                raise CorruptError from error
            raise
        except (CorruptError, StoreError):
            connection.close()
            raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """The whole file, indices against their tables. Raises: CorruptError, sqlite3.Error.

    Indices can be rebuilt from their tables; with damaged ones a change may report success although it found no row.
    """
    found = _integrity(connection)
    if found != "ok":
        connection.execute("REINDEX")
        if _integrity(connection) != "ok":
            raise CorruptError
        log.warning("%s was damaged and its indices were rebuilt: %s", path, " ".join(found.split()))


def _require_columns(connection: sqlite3.Connection) -> None:
    """The tables have the columns that this program reads and writes. Raises: CorruptError, sqlite3.Error.

    A damaged schema may have other names, and SQLite checks a name only when a statement has it.
    """
    with closing(sqlite3.connect(":memory:")) as new:
        for statement in chain.from_iterable(MIGRATIONS):
            new.execute(statement)
        if _columns(connection) != _columns(new):
            raise CorruptError


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """(table, column) in small letters: SQL takes both."""
    found = connection.execute(
        "SELECT lower(t.name), lower(c.name) FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    )
    return set(found.fetchall())


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Every kind of change, undone. Raises: CorruptError, sqlite3.Error.

    A header may say that the file must not be written, and a schema may be damaged where only a write looks.
    """
    connection.execute("BEGIN IMMEDIATE")
    for statement in _CHANGES:
        if connection.execute(statement).rowcount != 1:
            raise CorruptError
    connection.execute("ROLLBACK")  # nothing has reached the disk: a full one is no reason not to start


def _integrity(connection: sqlite3.Connection) -> str:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return str(found)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to SCHEMA_VERSION in one transaction, which also takes the write lock."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not 0 <= version < SCHEMA_VERSION + _MOST_SCHEMAS_AHEAD:
            raise CorruptError
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer udprism (schema {version}; this one knows {SCHEMA_VERSION})"
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def move_away(path: Path) -> Path:
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
