"""A rollout's plan in JSON instead of hex of msgpack, runs that name their stage, and four indexes.

The events of a rollout stay as they were written, because their hashes cover every byte; ``fleet.rollout``
reads both forms. The column ``bundles.facts``, which was never filled, goes.
"""

import msgspec
from alembic import op
from sqlalchemy import JSON, Column, String, column, select, table

revision = "0002"
down_revision = "0001"

_ROLLOUTS = table(
    "rollouts", column("rollout_id", String), column("facts", JSON), column("plan", JSON)
)
_RUNS = table("runs", column("run_id", String), column("stage", String), column("facts", JSON))


def upgrade() -> None:
    """Rewrite the plans, name the stage in the facts of runs, drop two columns, add four indexes."""
    op.add_column("rollouts", Column("plan", JSON))
    connection = op.get_bind()
    for rollout_id, facts in connection.execute(
        select(_ROLLOUTS.c.rollout_id, _ROLLOUTS.c.facts)
    ).all():
        plan = msgspec.to_builtins(msgspec.msgpack.decode(bytes.fromhex(facts["plan"])))
        connection.execute(
            _ROLLOUTS.update().where(_ROLLOUTS.c.rollout_id == rollout_id).values(plan=plan)
        )
    for run_id, stage, facts in connection.execute(select(*_RUNS.c)).all():
        named = {"stage": stage, **facts}
        connection.execute(_RUNS.update().where(_RUNS.c.run_id == run_id).values(facts=named))
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.alter_column("plan", existing_type=JSON(), nullable=False)
        rollouts.drop_column("facts")
    with op.batch_alter_table("bundles") as bundles:
        bundles.drop_column("facts")
    op.create_index("ix_clips_drive_id", "clips", ["drive_id"])
    op.create_index("ix_clips_at_ns", "clips", ["at_ns"])
    op.create_index("ix_labels_source", "labels", ["source"])
    op.create_index("ix_reports_at_ns", "reports", ["at_ns"])
