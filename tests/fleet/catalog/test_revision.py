"""A catalog has a revision: an older one is migrated when asked, what is no catalog is refused by name."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from edge.contracts.errors import OperatorError, RingroadError
from fleet.catalog import (
    BundleRow,
    Catalog,
    ClipRow,
    DatasetRow,
    EvaluateFacts,
    LabelFacts,
    LabelRow,
    RolloutRow,
    RunRow,
    StreamKind,
    TrainFacts,
    VehicleRow,
    create_catalog,
)
from fleet.catalog.migrate import migrate_catalog
from fleet.catalog.revision import HEAD, REVISIONS
from fleet.rollout import CanaryRule, Started
from fleet.rollout.conduct import events_of, halt_rollout, plan_of

UNVERSIONED = (Path(__file__).parent / "unversioned.sql").read_text()
"""The tables of the first lap with a row of each kind, as SQLite dumps them."""
NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


@pytest.fixture
def old(path: Path) -> Path:
    execute(path, f"PRAGMA journal_mode = WAL; {UNVERSIONED}")
    return path


def schema_of(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    """The columns with their types, and the indexes, of every table."""
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
    look = inspect(engine)
    return {
        name: (
            {f"{c['name']} {c['type']} {c['nullable']}" for c in look.get_columns(name)}
            | {f"key {look.get_pk_constraint(name)['constrained_columns']}"},
            {f"{i['name']} {i['column_names']}" for i in look.get_indexes(name)},
        )
        for name in look.get_table_names()
    }


def test_catalog_of_the_first_lap_keeps_its_rows_when_it_is_migrated(old: Path) -> None:
    assert migrate_catalog(old) == REVISIONS[0]
    catalog = Catalog(old)
    assert [row.vehicle_id for row in catalog.all(VehicleRow)] == ["v-01"]
    assert [row.manifest for row in catalog.all(ClipRow)] == [b"sealed"]
    assert [row.bundle_id for row in catalog.all(BundleRow)] == ["b-2"]
    judged, said, learnt = (row.facts for row in catalog.all(RunRow))
    assert isinstance(judged, EvaluateFacts) and judged.models["candidate"] == "t-1"
    assert isinstance(said, LabelFacts) and (said.auto, said.skipped) == (2, {})
    assert isinstance(learnt, TrainFacts) and learnt.final_losses == {"heat": 1.5}
    assert [row.facts.names for row in catalog.all(DatasetRow)] == [("edge",)]
    assert [row.facts.reviewed for row in catalog.all(LabelRow)] == [1]
    assert catalog.verify_chain("vehicle/v-01") == catalog.verify_chain("rollout/r-1") == 1
    catalog.close()


def test_plan_and_events_of_an_old_rollout_are_read_and_continued(old: Path) -> None:
    migrate_catalog(old)
    catalog = Catalog(old)
    (row,) = catalog.all(RolloutRow)
    assert row.plan["waves"] == [["v-01"]] and row.plan["candidate"]["bundle_id"] == "b-2"
    plan = plan_of(catalog, "r-1")
    assert plan.report_keys == {"v-01": bytes(range(32))} and plan.rule == CanaryRule()
    assert events_of(catalog, "r-1") == (Started(at_ns=NOW_NS, actor="operator"),)
    halt_rollout(catalog, "r-1", "smoke", actor="operator", at_ns=NOW_NS + 1)
    assert [type(event).__name__ for event in events_of(catalog, "r-1")] == ["Started", "Halted"]
    assert catalog.verify_chain("rollout/r-1") == 2
    catalog.close()


def test_migrated_and_new_catalogs_have_the_same_tables_and_indexes(
    old: Path, tmp_path: Path
) -> None:
    migrate_catalog(old)
    create_catalog(tmp_path / "new.sqlite").close()
    assert schema_of(old) == schema_of(tmp_path / "new.sqlite")


def test_every_migration_is_known_and_the_last_one_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", "fleet.catalog:migrations")
    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(known)) == REVISIONS and scripts.get_heads() == [HEAD]


def test_old_catalog_is_not_written_to_before_it_is_migrated(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(OperatorError, match=r"revision 0001, expected 0002; .* fleet migrate"):
        Catalog(old)
    assert old.read_bytes() == before


@pytest.mark.parametrize("is_open_elsewhere", [False, True])
def test_old_backup_is_read_as_it_is_and_stays_so(old: Path, is_open_elsewhere: bool) -> None:
    with closing(sqlite3.connect(old)) as writer:
        if is_open_elsewhere:
            writer.execute("UPDATE vehicles SET profile = 'board'")
            writer.commit()
        before = {p.name: p.read_bytes() for p in old.parent.iterdir() if "shm" not in p.name}
        reader = Catalog(old, is_read_only=True)
        (row,) = reader.all(VehicleRow)
        assert row.profile == ("board" if is_open_elsewhere else "laptop")
        assert plan_of(reader, "r-1").candidate.bundle_id == "b-2"
        with pytest.raises(RingroadError), reader.write(at_ns=1, actor="test") as tx:
            tx.append(StreamKind.VEHICLE, "v-01", "seen.1", cause="test")
        reader.close()
        after = {p.name: p.read_bytes() for p in old.parent.iterdir() if "shm" not in p.name}
    assert before == after


def test_migrating_again_changes_nothing(old: Path) -> None:
    migrate_catalog(old)
    before = old.read_bytes()
    assert migrate_catalog(old) == HEAD
    assert old.read_bytes() == before


def test_migration_that_fails_leaves_the_catalog_as_it_was(old: Path) -> None:
    execute(old, """UPDATE rollouts SET facts = '{"plan": "no hex"}'""")
    before = old.read_bytes()
    with pytest.raises(ValueError, match="hex"):
        migrate_catalog(old)
    assert old.read_bytes() == before


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_tables(path: Path) -> None:
    path.unlink()
    execute(path, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t;")


def foreign(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE songs (title); CREATE TABLE singers (name);")


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 4096 * 4096])


def newer(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '9000'")


def without_revision(path: Path) -> None:
    execute(path, "DELETE FROM alembic_version")


def without_a_column(path: Path) -> None:
    execute(path, "ALTER TABLE clips DROP COLUMN frame_count")


def without_a_table(path: Path) -> None:
    execute(path, "DROP TABLE runs")


BROKEN = [
    (emptied, "is empty: it holds no table"),
    (without_tables, "is empty: it holds no table"),
    (foreign, "is no catalog of a fleet: it holds singers, songs"),
    (no_database, "is damaged"),
    (truncated, "is damaged"),
    (newer, "has revision 9000, and this program knows none after"),
    (without_revision, "keeps 0 revisions, expected one"),
    (without_a_column, "is half made: it lacks column clips.frame_count"),
    (without_a_table, "is half made: it lacks table runs"),
]


@pytest.mark.parametrize(("spoil", "complaint"), BROKEN)
@pytest.mark.parametrize("is_url", [False, True])
def test_what_is_no_whole_catalog_is_refused_in_one_sentence(
    path: Path, spoil: Callable[[Path], None], complaint: str, is_url: bool
) -> None:
    create_catalog(path).close()
    spoil(path)
    before = path.read_bytes()
    where = f"sqlite:///{path}" if is_url else path
    for opening in (
        lambda: Catalog(where),
        lambda: Catalog(where, is_read_only=True),
        lambda: migrate_catalog(where),
    ):
        with pytest.raises(OperatorError, match=complaint) as refused:
            opening()
        assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("spoil", [without_a_column, without_a_table])
def test_half_an_old_catalog_is_not_taken_for_one(old: Path, spoil: Callable[[Path], None]) -> None:
    spoil(old)
    with pytest.raises(OperatorError, match="is half made"):
        migrate_catalog(old)


def test_opening_makes_no_catalog(path: Path) -> None:
    for is_read_only in (False, True):
        with pytest.raises(OperatorError, match="there is no catalog at"):
            Catalog(path, is_read_only=is_read_only)
    assert not list(path.parent.iterdir())


def test_catalog_is_made_once(path: Path) -> None:
    create_catalog(path).close()
    kept = shutil.copy(path, path.with_name("kept"))
    with pytest.raises(OperatorError, match="exists already"):
        create_catalog(path)
    assert path.read_bytes() == Path(kept).read_bytes()
