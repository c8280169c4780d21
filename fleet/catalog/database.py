"""Open the catalog, read rows as records, and write rows and events in one transaction.

Opening never makes a catalog (``create`` does) and never migrates one (``migrate`` does): it looks at the
revision and refuses what it cannot work with. One that is opened for reading may be older; it is then read
from a migrated copy, so that a backup can be looked at where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, Select, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from edge.contracts.errors import HashMismatchError, OperatorError, SchemaError
from fleet.catalog.address import Address, address_of, shown
from fleet.catalog.chain import Checkpoint, Event, Fact, Head, StreamKind, next_event, stream_name
from fleet.catalog.chain import verify_events as verify_stream
from fleet.catalog.engine import copied, damage_named, database_errors, engine_of
from fleet.catalog.query import Condition, Value, narrowed, ordered, prefix
from fleet.catalog.revision import HEAD, found_in, head_shape, outdated, refuse_half
from fleet.catalog.tables import EVENTS, TABLES

R = TypeVar("R", bound=msgspec.Struct)
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Catalog:
    """The fleet's database. Every method raises ``StoreUnavailableError`` when the database fails."""

    def __init__(self, where: Path | str, *, is_read_only: bool = False) -> None:
        """Open a catalog that exists.

        Args:
            where: A file, or text with ``://``: a SQLAlchemy URL.
            is_read_only: Make and change nothing; an older catalog is read from a migrated copy.

        Raises:
            OperatorError: The URL cannot be honoured, or what it names is no catalog: missing, damaged,
                empty, half made, newer than this program, or older and opened to write.
        """
        address = address_of(where)
        with ExitStack() as stack, database_errors():
            engine = engine_of(address, stack, is_read_only=is_read_only)
            with damage_named(shown(address)), engine.connect() as connection:
                found = found_in(connection, shown(address))
            if found.revision == HEAD:
                refuse_half(found.shape, head_shape(), shown(address))
            elif is_read_only and isinstance(address, Path):
                engine = _migrated_copy(engine, address, stack)
            else:
                raise outdated(found.revision, shown(address))
            self._engine = engine
            self._writer = engine.execution_options(is_write=True)
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close every connection."""
        self._open.close()

    @contextmanager
    def write(self, *, at_ns: int, actor: str) -> Iterator[Transaction]:
        """Open the one write transaction; it commits, durably, when the block ends without an error.

        Args:
            at_ns: When this happens, by the clock of the writing process.
            actor: Who does it: ``gateway``, ``operator``, a stage.
        """
        with database_errors(), self._writer.begin() as connection:
            yield Transaction(connection, at_ns, actor)

    def get(self, record: type[R], *key: Value) -> R | None:
        """Read the row with this key, or None."""
        with database_errors(), self._engine.connect() as connection:
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
        with database_errors(), self._engine.connect() as connection:
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
        with database_errors(), self._engine.connect() as connection:
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
        with database_errors(), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return Checkpoint.of(_record(row, Head) for row in rows)

    def verify_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Check every chain, and that each still holds the events of the checkpoint.

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
    """One write transaction; all of it happens, or none."""

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


def _migrated_copy(reader: Engine, address: Address, stack: ExitStack) -> Engine:
    """Copy an older SQLite catalog to a folder that ends with ``stack``, and migrate the copy."""
    from fleet.catalog.migrate import migrate

    copy = copied(reader, stack)
    with ExitStack() as writing:
        migrate(engine_of(copy, writing), address)
    return engine_of(copy, stack, is_read_only=True)
