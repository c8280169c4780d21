"""`ringroad bundle …`: exported, signed models. Two people sign; publishing alone reaches no vehicle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.console import show_record, show_table, stages
from edge.contracts.errors import OperatorError
from fleet.catalog import BundleRow
from fleet.commands.options import (
    CACHE,
    STATE,
    Cache,
    Json,
    State,
    Yes,
    agree,
    open_depot,
    reading,
    writing,
)
from fleet.repository import utc_text
from fleet.service import expiries_of, renew_all

app = typer.Typer(help="Exported, signed models.", no_args_is_help=True)


@app.command()
def build(
    model: Annotated[
        str | None, typer.Option(help="Whose network: zoo size, training run or folder.")
    ] = None,
    again: Annotated[
        str | None, typer.Option(help="A bundle to release once more, above all others.")
    ] = None,
    tune: Annotated[
        str, typer.Option(help="The dataset that chooses thresholds and golden frames.")
    ] = "tune",
    rare: Annotated[
        list[str] | None, typer.Option(help="A category held to few false alarms; repeat it.")
    ] = None,
    parent: Annotated[str | None, typer.Option(help="The bundle it was fine-tuned from.")] = None,
    profile: Annotated[str, typer.Option(help="The kind of board.")] = "laptop",
    state: State = STATE,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Build a network's bundle, or give one a new counter, and put it on the draft to be signed."""
    from edge.contracts.classes import class_named
    from fleet.dataset.frozen import Dataset
    from fleet.dataset.shelf import files_of, find_dataset
    from fleet.evaluate import GateSettings
    from fleet.evaluate.order import Network, answer_tune, tuned
    from fleet.model import find_model

    if (model is None) == (again is None):
        raise OperatorError("name either --model or --again")
    with open_depot(state, cache) as opened:
        if again is not None:
            bundle = opened.rerelease(opened.find(again))
        else:
            assert model is not None
            place, network = opened.workspace, find_model(opened.workspace, model)
            manifest = find_dataset(place, tune)
            file = files_of({"": manifest}, place.store, place.cache)[""]
            with stages(as_json=as_json).stage("thresholds", 1) as shown:
                matches = answer_tune(
                    place,
                    Network(network.files.int8, network.categories),
                    file,
                    size=network.size,
                    on_steps=shown.advance,
                )
            held = [class_named(name) for name in rare or ()]
            bundle = opened.build(
                network,
                tuned(matches, held, GateSettings()),
                Dataset(Path(file.path)),
                profile=profile,
                parent_bundle_id=parent and opened.find(parent).manifest.bundle_id,
            )
        opened.propose(bundle)
    built = bundle.manifest
    record = {
        "bundle_id": built.bundle_id,
        "profile": built.profile,
        "release_counter": built.release_counter,
        "run_id": built.provenance.run_id,
        "state": "drafted",
    }
    show_record(record, as_json=as_json, title="built")


@app.command("list")
def list_bundles(state: State = STATE, as_json: Json = False) -> None:
    """List the bundles, their counters, and whether a rollout may assign them."""
    with reading(state) as fleet:
        released = {(r.bundle_id, r.release_counter) for r in fleet.image.released()}
        rows = [
            {
                "bundle_id": row.bundle_id,
                "profile": row.profile,
                "release_counter": row.release_counter,
                "run_id": row.run_id,
                "is_published": (row.bundle_id, row.release_counter) in released,
            }
            for row in fleet.catalog.all(BundleRow)
        ]
    columns = ("bundle_id", "profile", "release_counter", "run_id", "is_published")
    show_table(rows, columns, as_json=as_json)


@app.command()
def sign(
    key: Annotated[str, typer.Argument(help="Whose key signs, for instance release-a.")],
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Put one person's signature on the draft."""
    with writing(state) as fleet:
        count = fleet.image.sign(key)
    show_record({"key": key, "signatures": count}, as_json=as_json, title="signed")


@app.command()
def publish(yes: Yes = False, state: State = STATE, as_json: Json = False) -> None:
    """Show the signed draft to the fleet; a rollout then assigns it to vehicles."""
    with writing(state) as fleet:
        before = {(r.bundle_id, r.release_counter) for r in fleet.image.released()}
        agree("Every vehicle will see the draft's bundles. Publish them?", yes=yes)
        fleet.image.publish(time.time_ns())
        rows = [
            {"bundle_id": r.bundle_id, "profile": r.profile, "release_counter": r.release_counter}
            for r in fleet.image.released()
            if (r.bundle_id, r.release_counter) not in before
        ]
    show_table(rows, ("bundle_id", "profile", "release_counter"), as_json=as_json)


@app.command()
def renew(
    targets: Annotated[
        bool,
        typer.Option(
            "--targets", help="Draft the present list of bundles afresh, for two people to sign."
        ),
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Sign afresh what has lived half its life; `ringroad fleet serve` does it by itself."""
    with writing(state) as fleet:
        now_ns = time.time_ns()
        renewed, failures = renew_all(fleet.image, fleet.director, now_ns)
        if targets:
            fleet.image.refresh_draft(now_ns)
        ends, _ = expiries_of(fleet.image, fleet.director)
    following = min(ends, key=lambda end: end.expires_ns, default=None)
    record = {
        "renewed": renewed,
        "not_renewed": failures,
        "is_drafted": targets,
        "next_expiry_file": following and following.file,
        "next_expiry": following and utc_text(following.expires_ns),
    }
    show_record(record, as_json=as_json, title="renewed")
    if failures:
        raise OperatorError(f"{len(failures)} not renewed; the first is {failures[0]}")
