"""The durable log of the store: one SQLite file in WAL mode.

In: rows, a transaction at a time. Out: what survived, at start. It refuses a file it cannot trust and never empties
one; it knows nothing of what the values mean.

Durability: `synchronous=NORMAL` in WAL mode (https://www.sqlite.org/pragma.html#pragma_synchronous). A committed
transaction is in the page cache before it is acknowledged, so it survives any death of the process; a power cut may
lose the last moments but leaves the file consistent.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from fairlead.cluster.apiserver.store import Row
from fairlead.drivers.errors import FairleadError

FORMAT = 1
"""The layout of the tables, kept in PRAGMA user_version."""

CHECKPOINT_BYTES = 16 * 1024 * 1024
"""How much may be appended before the WAL is folded into the file."""

_LAST_RESORT_PAGES = 64_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, value BLOB NOT NULL, UNIQUE (api_group, plural, namespace, name));
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 0);
"""

_PUT = """
INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (api_group, plural, namespace, name)
DO UPDATE SET revision = excluded.revision, value = excluded.value
"""

_DELETE = "DELETE FROM objects WHERE api_group = ? AND plural = ? AND namespace = ? AND name = ?"


class LogRefusedError(FairleadError):
    """The database cannot be read or written; `transient` where it may work again later (full disk, read-only file)."""

    transient = False


class DiskRefusedError(LogRefusedError):
    """The disk takes no more: reads go on, and writes work again once there is room."""

    transient = True


def _create(path: Path) -> None:
    """Make an empty log, in one step: a file that is there is a whole one, or was torn later and is never mistaken for
    an empty cluster.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {FORMAT};COMMIT;")
    fresh.rename(path)


class SqliteLog:
    """An open log file. One process opens it at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and check it; raise LogRefusedError where it is damaged or not ours."""
        self._path = path
        self._appended = 0
        self._folding: threading.Thread | None = None
        try:
            if not path.exists():
                _create(path)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._open()
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _open(self) -> None:
        run = self._connection.execute
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0:
            raise self._corrupt("it has none of the tables it was created with")
        if version != FORMAT:
            raise LogRefusedError(
                f"{self._path} was written by another version of Fairlead (format {version}, this one reads {FORMAT})",
                f"use that version, or move {self._path} away to begin with an empty cluster",
            )
        problems = [str(row[0]) for row in run("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            raise self._corrupt("; ".join(problems))
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA wal_autocheckpoint = {_LAST_RESORT_PAGES}")

    def load(self) -> tuple[int, Iterable[Row]]:
        """Return the last revision and every living object."""
        try:
            counter = self._connection.execute("SELECT revision FROM counter").fetchone()
            found = self._connection.execute(
                "SELECT api_group, plural, namespace, name, revision, value FROM objects"
            ).fetchall()
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        if counter is None:
            raise self._corrupt("the revision counter is missing")
        rows = [
            Row(resource=(group, plural), key=(namespace, name), revision=revision, value=value)
            for group, plural, namespace, name, revision, value in found
        ]
        return int(counter[0]), rows

    def append(self, rows: Sequence[Row], revision: int) -> None:
        """Write the rows and the counter in one transaction; nothing of it stays when it fails."""
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            for row in rows:
                if row.value is None:
                    run(_DELETE, (*row.resource, *row.key))
                else:
                    run(_PUT, (*row.resource, *row.key, row.revision, row.value))
            run("UPDATE counter SET revision = ?", (revision,))
            run("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise self._refusal(error) from error
        self._appended += sum(len(row.value or b"") for row in rows)
        if self._appended > CHECKPOINT_BYTES and not (self._folding and self._folding.is_alive()):
            self._appended = 0
            self._folding = threading.Thread(target=self._fold, daemon=True)
            self._folding.start()

    def _fold(self) -> None:
        """Fold the WAL into the file beside the writer, who would otherwise wait for the disk in some commit."""
        try:
            with closing(sqlite3.connect(self._path, timeout=5.0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            pass  # nothing is lost: the WAL stays, and the next fold takes it

    def limit_pages(self, pages: int) -> int:
        """Let the file grow to so many pages and no further, the present size at least; return the limit before."""
        before = int(self._connection.execute("PRAGMA max_page_count").fetchone()[0])
        self._connection.execute(f"PRAGMA max_page_count = {int(pages)}")
        return before

    def close(self) -> None:
        """Fold the log into the file and release it."""
        if self._folding is not None:
            self._folding.join()
        self._connection.close()

    def _refusal(self, error: sqlite3.Error) -> LogRefusedError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._corrupt(str(error))
        if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return DiskRefusedError(
                f"cannot write {self._path}: {error}", f"make room on the disk of {self._path.parent}"
            )
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return DiskRefusedError(f"cannot write {self._path}: {error}", f"make {self._path.parent} writable")
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LogRefusedError(
                f"{self._path} is in use by another process", "stop the cluster that runs on it first"
            )
        return LogRefusedError(
            f"cannot use {self._path}: {error}", f"move {self._path} away to begin with an empty cluster"
        )

    def _corrupt(self, problem: str) -> LogRefusedError:
        return LogRefusedError(
            f"{self._path} is damaged and was left as it is: {problem}",
            f"restore it from a copy, or move {self._path} and its -wal and -shm files away to begin anew",
        )
