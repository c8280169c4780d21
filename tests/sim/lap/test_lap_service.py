"""How a lap opens: its service keeps blobs where the lap looks, and its sets are seen as vehicles see."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge.cli.console import stages
from edge.contracts.errors import OperatorError
from fleet.dataset.frozen import DatasetManifest, freeze
from fleet.service import ServiceSettings, StateFolder
from fleet.store import BlobStore, StoreSettings
from sim.lap import run
from sim.lap.folders import LapFolders
from sim.lap.settings import LapSettings
from sim.lap.setup import make_fleet, running_service
from sim.sense.rig import default_rig

ODD = "Läufe (Kopie), a=b #1"


@pytest.mark.parametrize(
    "store",
    [
        StoreSettings(),
        StoreSettings(root=ODD),
        StoreSettings(
            kind="s3",
            bucket="ringroad",
            prefix="a/b=c ",
            endpoint_url="http://127.0.0.1:9/?x=1,2",
            connect_timeout_s=1.5,
            read_timeout_s=7.0,
        ),
    ],
)
def test_the_service_has_the_store_of_its_lap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: StoreSettings
) -> None:
    monkeypatch.chdir(tmp_path)
    state = StateFolder(Path(ODD) / "fleet")
    lap = LapSettings(store=store, fleet=ServiceSettings(roster_max_age_s=0.5))
    make_fleet(lap, state)
    with running_service(state, tmp_path / "service.log") as card:
        assert card.gateway.startswith("tcp://127.0.0.1:")
    settings = msgspec.json.decode(
        (state.root / "settings.json").read_bytes(), type=ServiceSettings
    )
    root = str(tmp_path / store.root) if store.root else ""
    assert settings == replace(lap.fleet, state=".", store=replace(store, root=root))


@pytest.mark.parametrize("strange", ["tune", "gate", "rare"])
def test_a_lap_on_sets_of_another_rig_is_refused_before_anybody_drives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: str
) -> None:
    def rendered(
        settings: LapSettings, folders: LapFolders, store: BlobStore, on_progress: object
    ) -> dict[str, DatasetManifest]:
        rigs = {role: default_rig() for role in ("replay", "tune", "gate", "rare")}
        rigs[strange] = default_rig(width_px=64, height_px=32)
        return {r: freeze([], [rig], store, name=r, split="gate") for r, rig in rigs.items()}

    monkeypatch.setattr(run, "lap_sets", rendered)
    settings = LapSettings(cache=str(tmp_path / "cache"))
    folders = LapFolders(tmp_path / "run", 1, tmp_path / "cache")
    with (
        pytest.raises(OperatorError, match=f"set {strange} .* cannot judge"),
        run.open_turn(settings, folders, None, stages()),
    ):
        pytest.fail("the lap began")
