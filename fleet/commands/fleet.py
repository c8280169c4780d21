"""`ringroad fleet …`: the fleet, its service, its vehicles, its campaigns and its audit log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from conf.named import load
from edge.cli.console import show_record, show_table
from edge.contracts.errors import OperatorError
from fleet.campaign import CampaignSettings, campaign_from
from fleet.campaign import approve as approve_campaign
from fleet.campaign import propose as propose_campaign
from fleet.catalog import (
    CampaignRow,
    Catalog,
    Checkpoint,
    ClipRow,
    Head,
    QuarantineRow,
    ReportRow,
    VehicleRow,
)
from fleet.catalog.address import shown
from fleet.commands.options import STATE, Json, State, Yes, overlaid, reading, writing
from fleet.fleet import Fleet, settings_of
from fleet.keys import Enrolment, register_rig
from fleet.keys import enrol as enrol_vehicle
from fleet.keys import revoke as revoke_vehicle
from fleet.repository import Expiry, utc_text, warnings_of
from fleet.service import expiries_of
from fleet.service import serve as serve_fleet
from fleet.settings import ServiceSettings, catalog_address
from fleet.state import ServiceCard, StateFolder, read_service_card

app = typer.Typer(help="The fleet service and who belongs to the fleet.", no_args_is_help=True)


@app.command()
def init(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings, for instance store=s3 store.bucket=clips updates_port=0."),
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Make a fleet: its settings, catalog, keys and empty repositories. Nothing else ever makes one."""
    from conf.compose import compose, with_options
    from fleet.init import create_fleet

    asked = _without_state(compose("fleet", overrides or [], ServiceSettings))
    settings = with_options(asked, state=str(state))
    made = create_fleet(settings, now_ns=time.time_ns())
    with reading(state) as fleet:
        record = {
            "state": str(made.root),
            "catalog": shown(catalog_address(made, fleet.settings)),
            "keys": list(fleet.keys.names()),
        }
    show_record(record, as_json=as_json, title="made")


@app.command()
def migrate(
    catalog_url: Annotated[
        str, typer.Option(help="Where the catalog is, for a fleet that lost its settings.")
    ] = "",
    yes: Yes = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Bring a fleet that an older program made to the tables of this one; there is no way back."""
    from fleet.catalog.revision import HEAD
    from fleet.init import migrate_fleet

    if not yes:
        question = f"The catalog of {state} is rewritten; only a backup goes back. Migrate it?"
        typer.confirm(question, abort=True)
    before = migrate_fleet(StateFolder(state), catalog_url=catalog_url, now_ns=time.time_ns())
    show_record({"revision": HEAD, "before": before}, as_json=as_json, title="migrated")


def _without_state(asked: ServiceSettings) -> ServiceSettings:
    """Refuse a word that names the folder, which an option does.

    Raises:
        OperatorError: There is one.
    """
    if asked.state != ServiceSettings().state:
        raise OperatorError(f"state={asked.state} is no setting here; say --state {asked.state}")
    return asked


@app.command()
def serve(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings to change from now on, for instance updates_port=0."),
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Serve vehicles and update files until interrupted."""
    from conf.compose import compose, with_options

    words = overrides or []
    asked = _without_state(compose("fleet", words, ServiceSettings))
    settings = overlaid(settings_of(StateFolder(state)), asked, words)

    def say(card: ServiceCard) -> None:
        show_record(msgspec.structs.asdict(card), as_json=as_json, title="serving")
        sys.stdout.flush()  # the reader of this line may wait at a pipe

    serve_fleet(with_options(settings, state=str(state)), say)


@app.command()
def status(state: State = STATE, as_json: Json = False) -> None:
    """Show whether the service runs, what the fleet has, and when update metadata expires."""
    card = read_service_card(StateFolder(state))
    with reading(state) as fleet:
        catalog = fleet.catalog
        (clip_count, clip_bytes), (quarantine_count, _) = (
            catalog.total(record, "blob_bytes") for record in (ClipRow, QuarantineRow)
        )
        record = {
            "is_running": card is not None,
            "gateway": card and card.gateway,
            "gateway_key": card and card.gateway_key,
            "updates": card and card.updates,
            "vehicles": catalog.count(VehicleRow),
            "clips": clip_count,
            "clip_bytes": clip_bytes,
            "quarantined": quarantine_count,
            "campaigns": catalog.count(CampaignRow),
            "checkpoint": catalog.checkpoint().root,
            **_updates(fleet, time.time_ns()),
        }
    show_record(record, as_json=as_json)


@app.command()
def vehicles(state: State = STATE, as_json: Json = False) -> None:
    """List the vehicles, what they sent and what they said last."""
    with reading(state) as fleet:
        rows = [_vehicle(fleet.catalog, row) for row in fleet.catalog.all(VehicleRow)]
    columns = ("vehicle_id", "state", "profile", "clips", "quarantined", "bundle_id", "phase")
    show_table(rows, columns, as_json=as_json)


@app.command()
def enrol(
    vehicle: Annotated[str, typer.Option(help="Its name, for ever.")],
    curve_key: Annotated[str, typer.Option(help="Its public CURVE key, 40 characters of Z85.")],
    report_key: Annotated[str, typer.Option(help="Its public Ed25519 key, 64 hex digits.")],
    profile: Annotated[str, typer.Option(help="Its kind of board.")] = "laptop",
    rig_id: Annotated[str | None, typer.Option(help="Hash of its calibration.")] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Register a vehicle's public keys and calibration."""
    enrolment = Enrolment(vehicle, curve_key, report_key, profile, rig_id)
    with writing(state) as fleet:
        row = enrol_vehicle(fleet.catalog, enrolment, at_ns=time.time_ns())
    show_record(msgspec.structs.asdict(row), as_json=as_json, title="enrolled")


@app.command()
def calibrate(
    vehicle: Annotated[str, typer.Argument(help="An enrolled vehicle.")],
    rig_id: Annotated[str, typer.Option(help="Hash of its new calibration, 64 hex digits.")],
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Register a vehicle's new calibration; clips recorded with another are quarantined from now on."""
    with writing(state) as fleet:
        row = register_rig(fleet.catalog, vehicle, rig_id, at_ns=time.time_ns())
    show_record(msgspec.structs.asdict(row), as_json=as_json, title="calibrated")


@app.command()
def revoke(
    vehicle: Annotated[str, typer.Argument(help="Whose keys are refused from now on.")],
    cause: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    yes: Yes = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Refuse a vehicle for ever: it is cut off and its name is not given again."""
    with writing(state) as fleet:
        if not yes:
            question = f"Vehicle {vehicle} is cut off and cannot come back. Revoke it?"
            typer.confirm(question, abort=True)
        row = revoke_vehicle(fleet.catalog, vehicle, cause=cause, at_ns=time.time_ns())
    show_record(msgspec.structs.asdict(row), as_json=as_json, title="revoked")


@app.command()
def campaigns(state: State = STATE, as_json: Json = False) -> None:
    """List what vehicles are asked to record."""
    with reading(state) as fleet:
        rows = [
            {**msgspec.structs.asdict(row), "record": msgspec.msgpack.decode(row.record)}
            for row in fleet.catalog.all(CampaignRow)
        ]
    columns = ("campaign_id", "state", "approved_by", "vehicles", "until_ns")
    show_table(rows, columns, as_json=as_json)


@app.command()
def propose(
    file: Annotated[
        str,
        typer.Argument(help="Campaigns by their ids: a file of conf/campaign, or the path of one."),
    ],
    state: State = STATE,
) -> None:
    """Put campaigns up for approval; no vehicle gets one before that."""
    configured = load("campaign", file, dict[str, CampaignSettings])
    with writing(state) as fleet:
        for name, settings in configured.items():
            campaign = campaign_from(name, settings)
            at_ns = time.time_ns()
            propose_campaign(fleet.catalog, campaign, vehicles=settings.vehicles, at_ns=at_ns)


@app.command()
def approve(
    campaign: Annotated[str, typer.Argument(help="A proposed campaign.")],
    by: Annotated[str, typer.Option(help="Who approves it.")],
    yes: Yes = False,
    state: State = STATE,
) -> None:
    """Let a campaign reach vehicles."""
    with writing(state) as fleet:
        if not yes:
            typer.confirm(f"Vehicles will record for campaign {campaign}. Approve it?", abort=True)
        approve_campaign(fleet.catalog, campaign, by=by, at_ns=time.time_ns())


class _VerifiedStream(msgspec.Struct):
    """A row of ``fleet verify --json``."""

    stream: str
    events: Annotated[int, msgspec.Meta(ge=1)]
    hash: str


@app.command()
def verify(
    since: Annotated[
        Path | None,
        typer.Option(
            help="Output of an earlier `fleet verify --json`, whose events must be there."
        ),
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check every hash chain of the audit log; fails at the first event that was rewritten.

    A chain does not show that its end was cut off; comparing it with an earlier output does.
    """
    with reading(state) as fleet:
        if since is not None:
            fleet.catalog.verify_checkpoint(_checkpoint_in(since))
        verify_chain = fleet.catalog.verify_chain
        rows = [
            {"stream": head.stream, "events": verify_chain(head.stream), "hash": head.hash}
            for head in fleet.catalog.checkpoint().heads
        ]
    show_table(rows, ("stream", "events", "hash"), as_json=as_json)


def _checkpoint_in(file: Path) -> Checkpoint:
    """Read the heads that an earlier ``fleet verify --json`` wrote.

    Raises:
        OperatorError: The file holds something else.
        OSError: It cannot be read.
    """
    try:
        rows = msgspec.json.decode(file.read_bytes(), type=list[_VerifiedStream])
        heads = [Head(stream=row.stream, seq=row.events - 1, hash=row.hash) for row in rows]
    except msgspec.MsgspecError as error:
        raise OperatorError(f"{file} is no output of `fleet verify --json`: {error}") from error
    return Checkpoint.of(heads)


def _updates(fleet: Fleet, now_ns: int) -> dict[str, object]:
    """Return when update metadata expires: what comes next, and what no service can renew."""
    ends, damaged = expiries_of(fleet.image, fleet.director)
    following = min(ends, key=lambda end: end.expires_ns, default=None)
    return {
        "next_expiry_file": following and following.file,
        "next_expiry": following and utc_text(following.expires_ns),
        "targets_expire": _first_end(ends, "targets"),
        "roots_expire": _first_end(ends, "root"),
        "warnings": [*damaged, *warnings_of(ends, now_ns)],
    }


def _first_end(ends: Sequence[Expiry], role: str) -> str | None:
    """Return when the first file of a role that people sign expires."""
    found = [end.expires_ns for end in ends if end.role == role and not end.is_online]
    return utc_text(min(found)) if found else None


def _vehicle(catalog: Catalog, row: VehicleRow) -> dict[str, object]:
    vehicle_id = row.vehicle_id
    newest_ns = catalog.largest(ReportRow, "at_ns", vehicle_id=vehicle_id)
    reports = catalog.all(
        ReportRow, order="-sequence", limit=1, vehicle_id=vehicle_id, at_ns=newest_ns
    )
    last = reports[0] if reports else None
    return {
        **msgspec.structs.asdict(row),
        "clips": catalog.total(ClipRow, "blob_bytes", vehicle_id=vehicle_id)[0],
        "quarantined": catalog.total(QuarantineRow, "blob_bytes", vehicle_id=vehicle_id)[0],
        "bundle_id": last and last.bundle_id,
        "phase": last and last.phase,
    }
