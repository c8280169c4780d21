"""Open the catalog, read rows as records, and write rows and events in one transaction.

SQLite by default, several processes on one file: write-ahead log, every commit synced (an
acknowledgement to a vehicle rests on it), one short write transaction at a time that takes its lock at
its beginning, so that two writers wait for each other instead of failing half-way.

Opened for reading, a catalog is looked at and nothing is made, not even the files of a lock: it can lie in
a folder that cannot be written.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, RowMapping, Select, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError

from edge.contracts.errors import (
    HashMismatchError,
    OperatorError,
    SchemaError,
    StoreUnavailableError,
)
from fleet.catalog.address import address_of, shown
from fleet.catalog.chain import Checkpoint, Event, Fact, Head, StreamKind, next_event, stream_name
from fleet.catalog.chain import verify_events as verify_stream
from fleet.catalog.query import Condition, Value, narrowed, ordered, prefix
from fleet.catalog.tables import EVENTS, METADATA, TABLES

R = TypeVar("R", bound=msgspec.Struct)
BUSY_TIMEOUT_MS = 30_000
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Catalog:
    """The fleet's database. Every method raises ``StoreUnavailableError`` when the database fails."""

    def __init__(self, where: Path | str, *, is_read_only: bool = False) -> None:
        """Open, and make where it is new.

        Args:
            where: A file, or text with ``://``: a SQLAlchemy URL.
            is_read_only: Make and change nothing; what is not there stays so.

        Raises:
            OperatorError: The URL cannot be honoured: malformed, no such database, or its driver is
                not installed.
        """
        address = address_of(where)
        with ExitStack() as stack, _database_errors():
            if isinstance(address, URL):
                self._engine = _server(address)
            elif is_read_only:
                self._engine = _read_only_sqlite(address, stack)
            else:
                _make_file(address)
                self._engine = sqlalchemy.create_engine(_sqlite_url(address))
            stack.callback(self._engine.dispose)
            if isinstance(address, Path):
                _set_up_sqlite(self._engine)
            self._writer = self._engine.execution_options(is_write=True)
            if not is_read_only:
                with self._writer.begin() as connection:
                    METADATA.create_all(connection)
            self._open = stack.pop_all()

    def close(self) -> None:
        """Let go of every connection."""
        self._open.close()

    @contextmanager
    def write(self, *, at_ns: int, actor: str) -> Iterator[Transaction]:
        """Open the one write transaction; it commits, durably, when the block ends without an error.

        Args:
            at_ns: When this happens, by the clock of whoever writes.
            actor: Who does it: ``gateway``, ``operator``, a stage.
        """
        with _database_errors(), self._writer.begin() as connection:
            yield Transaction(connection, at_ns, actor)

    def get(self, record: type[R], *key: Value) -> R | None:
        """Read the row with this key, or None."""
        with _database_errors(), self._engine.connect() as connection:
            return _get(connection, record, key)

    def all(
        self,
        record: type[R],
        *conditions: Condition,
        order: str = "",
        limit: int | None = None,
        **equal: Value,
    ) -> list[R]:
        """Read the rows that meet every condition and whose columns equal the given values.

        Args:
            record: Which table.
            conditions: See ``fleet.catalog.query``.
            order: A column, ``-column`` for the largest first; the key otherwise.
            limit: Most rows; None means all.
            equal: Values by column.

        Raises:
            OperatorError: The table has no such column.
        """
        with _database_errors(), self._engine.connect() as connection:
            query = _selected(connection, select(TABLES[record]), record, conditions, equal)
            query = ordered(query, TABLES[record], order, limit)
            return [_record(row, record) for row in connection.execute(query).mappings()]

    def count(self, record: type[R], *conditions: Condition, **equal: Value) -> int:
        """Count the rows that ``all`` would read."""
        return self._figures(select(func.count()), record, conditions, equal)[0]

    def total(
        self, record: type[R], column: str, *conditions: Condition, **equal: Value
    ) -> tuple[int, int]:
        """Count the rows that ``all`` would read and add up one of their columns."""
        added = func.coalesce(func.sum(TABLES[record].c[column]), 0)
        count, total = self._figures(select(func.count(), added), record, conditions, equal)
        return count, total

    def largest(
        self, record: type[R], column: str, *conditions: Condition, **equal: Value
    ) -> int | None:
        """Return the largest value of a column among the rows that ``all`` would read; None of none."""
        query = select(func.count(), func.coalesce(func.max(TABLES[record].c[column]), 0))
        count, value = self._figures(query, record, conditions, equal)
        return value if count else None

    def _figures(
        self,
        query: Select[Any],
        record: type[R],
        conditions: Sequence[Condition],
        equal: Mapping[str, Value],
    ) -> tuple[int, ...]:
        with _database_errors(), self._engine.connect() as connection:
            query = query.select_from(TABLES[record])
            row = connection.execute(_selected(connection, query, record, conditions, equal)).one()
        return tuple(int(value) for value in row)

    def events(self, stream: str) -> list[Event]:
        """Read a stream, oldest first."""
        return self.all(Event, stream=stream)

    def event_count(self, kind: StreamKind) -> int:
        """Count the events of all streams of a kind: it grows exactly when something happened there."""
        return self.count(Event, prefix("stream", f"{kind}/"))

    def verify_chain(self, stream: str) -> int:
        """Check a stream's hash chain and count its events.

        Raises:
            HashMismatchError: The stream was tampered with.
        """
        return verify_stream(stream, self.events(stream))

    def checkpoint(self) -> Checkpoint:
        """Put the heads of all streams under one Merkle root."""
        last = select(EVENTS.c.stream, func.max(EVENTS.c.seq).label("seq"))
        newest = last.group_by(EVENTS.c.stream).subquery()
        query = select(EVENTS.c.stream, EVENTS.c.seq, EVENTS.c.hash).join(
            newest, (EVENTS.c.stream == newest.c.stream) & (EVENTS.c.seq == newest.c.seq)
        )
        with _database_errors(), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return Checkpoint.of(_record(row, Head) for row in rows)

    def verify_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Check every chain, and that each still holds what the checkpoint saw.

        Raises:
            HashMismatchError: A chain is broken, cut short, or was written anew since.
        """
        if Checkpoint.of(checkpoint.heads).root != checkpoint.root:
            raise HashMismatchError("the checkpoint's heads do not give its root")
        for head in checkpoint.heads:
            self.verify_chain(head.stream)
            event = self.get(Event, head.stream, head.seq)
            if event is None or event.hash != head.hash:
                found = event.hash if event else "nothing"
                raise HashMismatchError(
                    f"stream {head.stream} event {head.seq}: the checkpoint saw {head.hash}, now {found}"
                )


class Transaction:
    """What can be done inside one write transaction; all of it happens, or none."""

    def __init__(self, connection: Connection, at_ns: int, actor: str) -> None:
        self.at_ns = at_ns
        self._actor = actor
        self._connection = connection

    def add(self, record: msgspec.Struct) -> bool:
        """Write a row; False when there is one with its key already, which stays as it is.

        Raises:
            OperatorError: A value is out of bounds (constructors do not check), or names a vehicle
                that does not exist.
        """
        table = TABLES[type(record)]
        row = msgspec.to_builtins(record, builtin_types=(bytes,))
        try:
            msgspec.convert(row, type(record))
        except msgspec.ValidationError as error:
            raise OperatorError(f"{table.name} refused a row: {error}") from error
        insert = _INSERTS[self._connection.dialect.name](table).values(row)
        done = self._connection.execute(insert.on_conflict_do_nothing(index_elements=_keys(table)))
        return int(done.rowcount) == 1

    def change(self, record: type[R], *key: Value, **columns: Any) -> R:
        """Set columns of the row with this key and give the new row.

        Raises:
            OperatorError: There is no such row.
            SchemaError: A value is out of bounds.
        """
        table = TABLES[record]
        values = msgspec.to_builtins(columns, builtin_types=(bytes,))
        update = table.update().where(*_is_key(table, key)).values(values)
        if self._connection.execute(update).rowcount != 1:
            name = "/".join(map(str, key))
            raise OperatorError(f"there is no {name} among the {table.name}; nothing was changed")
        changed = self.get(record, *key)
        assert changed is not None
        return changed

    def get(self, record: type[R], *key: Value) -> R | None:
        """Read the row with this key, or None."""
        return _get(self._connection, record, key)

    def all(self, record: type[R], *conditions: Condition, **equal: Value) -> list[R]:
        """Read the rows that meet every condition, in order of their key; see ``Catalog.all``."""
        query = select(TABLES[record])
        query = _selected(self._connection, query, record, conditions, equal)
        query = ordered(query, TABLES[record], "", None)
        return [_record(row, record) for row in self._connection.execute(query).mappings()]

    def append(
        self, kind: StreamKind, name: str, schema: str, *, cause: str, **facts: Fact
    ) -> Event:
        """Append an event to the stream of ``name``."""
        stream = stream_name(kind, name)
        newest = (
            select(EVENTS).where(EVENTS.c.stream == stream).order_by(EVENTS.c.seq.desc()).limit(1)
        )
        row = self._connection.execute(newest).mappings().one_or_none()
        last = _record(row, Event) if row else None
        event = next_event(
            stream, last, schema, facts, at_ns=self.at_ns, actor=self._actor, cause=cause
        )
        self._connection.execute(EVENTS.insert().values(msgspec.structs.asdict(event)))
        return event


def _get(connection: Connection, record: type[R], key: tuple[Value, ...]) -> R | None:
    table = TABLES[record]
    row = connection.execute(select(table).where(*_is_key(table, key))).mappings().one_or_none()
    return _record(row, record) if row else None


def _selected(
    connection: Connection,
    query: Select[Any],
    record: type[R],
    conditions: Sequence[Condition],
    equal: Mapping[str, Value],
) -> Select[Any]:
    return narrowed(query, TABLES[record], connection.dialect.name, conditions, equal)


def _record(row: RowMapping, record: type[R]) -> R:
    try:
        return msgspec.convert({str(name): value for name, value in row.items()}, record)
    except msgspec.ValidationError as error:
        raise SchemaError(f"the catalog holds no valid {record.__name__}: {error}") from error


def _keys(table: Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def _is_key(table: Table, key: tuple[Value, ...]) -> list[Any]:
    return [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]


def _make_file(path: Path) -> None:
    """Make an empty write-ahead database, complete under its name at once.

    Switching a shared file to write-ahead fails with "locked" when two processes try together, however
    long they are told to wait; a file that appears in that mode leaves nothing to switch.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with closing(sqlite3.connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sqlite_url(path: Path) -> URL:
    """Name a file; pasted into a URL, a path with ``%`` or ``?`` would be another one."""
    return URL.create("sqlite", database=str(path))


def _server(url: URL) -> Engine:
    try:
        return sqlalchemy.create_engine(url)
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"catalog {shown(url)} cannot be opened: it needs the Python package {error.name}, "
            "which is not installed"
        ) from error
    except NoSuchModuleError as error:
        raise OperatorError(
            f"catalog {shown(url)} cannot be opened: there is no driver {url.drivername!r}"
        ) from error


def _read_only_sqlite(path: Path, stack: ExitStack) -> Engine:
    """Open a file so that neither it nor anything beside it is made or changed.

    Without a write-ahead log no process has the file open, and it is read as it lies there; a reader that
    came as usual would leave a log behind, or fail where it cannot. A log without its index (``-shm``,
    left out by a backup) can only be read by making the index: of a copy, then.
    """
    log, index = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    if log.exists() and not index.exists():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringroad-catalog-")))
        path = Path(shutil.copy(path, folder / "catalog.sqlite"))
        shutil.copy(log, folder / "catalog.sqlite-wal")
    name = f"file://{quote(os.fsencode(path))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, check_same_thread=False)

    return sqlalchemy.create_engine(_sqlite_url(path), creator=connect)


def _set_up_sqlite(engine: Engine) -> None:
    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, see below
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("is_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise OperatorError(f"catalog refused a row: {error.orig}") from error
    except DBAPIError as error:
        raise StoreUnavailableError(f"catalog: {error.orig}") from error
