"""In what order a vehicle sends, records and takes clips in, when its disk has little room."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.clip import CLIP_SUFFIX, DriveClips, SealedClip
from edge.contracts.errors import LinkDownError
from edge.upload import Spool, SpoolSettings, UplinkCounts
from sim.lap import vehicle
from sim.lap.vehicle import TrustAnchorsFile, VehicleOrder, live
from sim.vehicle import DriveOrder

Seal = Callable[..., Any]


class Fleet:
    """An uplink whose fleet takes one clip a step; ``happened`` is told everything in its order."""

    def __init__(self, spool: Spool, happened: list[str]) -> None:
        self.spool = spool
        self.happened = happened
        self.campaigns = ()
        self.last_failure = ""
        self.counts = UplinkCounts()
        self.is_willing = True

    @property
    def is_idle(self) -> bool:
        return not self.spool.pending()

    def step(self, _: int) -> None:
        if self.is_willing and not self.is_idle:
            self.spool.done(self.spool.pending()[0].clip_id)
            self.counts.clips_admitted += 1
            self.counts.bytes_sent += 1
            self.happened.append("sent")

    def wait(self, _: float) -> None:
        pass


class Life:
    """One life of a vehicle whose spool has room for one clip, with everything but the clips made up."""

    def __init__(self, root: Path, clip: Seal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clip = clip
        self.happened: list[str] = []
        self.home = root / "home"
        room = SpoolSettings(capacity_bytes=len(clip(0).content) * 3 // 2)
        self.spool = Spool(self.home / "spool", room)
        self.fleet = Fleet(self.spool, self.happened)
        take = self.spool.take

        def watched(clips: Iterator[SealedClip]) -> Any:
            taken = take(clips)
            self.happened.extend(["taken"] * len(taken))
            return taken

        self.spool.take = watched  # type: ignore[method-assign, assignment]
        agent = SimpleNamespace(
            step=lambda _: SimpleNamespace(refusal=None),
            active=lambda: (SimpleNamespace(bundle_id="b-0"), root),
            reports=lambda *_: (),
        )
        monkeypatch.setattr(vehicle, "_agent", lambda _: nullcontext(agent))
        monkeypatch.setattr(vehicle, "_uplink", lambda *_: (self.fleet, self.spool))
        monkeypatch.setattr(vehicle, "drive_order", self._drive)
        monkeypatch.setattr(vehicle, "_summary", lambda *_, **found: found)
        monkeypatch.setattr(vehicle, "_ANSWER_S", 0.2)
        monkeypatch.setattr(vehicle, "_WAIT_S", 0.0)

    def seal(self, number: int, drive: str) -> SealedClip:
        clip = self.clip(number)
        path = self.home / "clips" / drive / (clip.manifest.clip_id + CLIP_SUFFIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.content)
        size_bytes = len(clip.content)
        return SealedClip(
            path, clip.manifest_bytes, clip.manifest.clip_id, clip.blob_id, size_bytes, 0.5
        )

    def _drive(self, *_: object, **__: object) -> Any:
        self.happened.append("driven")
        kept = (self.seal(3, "new"), self.seal(4, "new"))
        clips = DriveClips(kept=kept, captured=2, evicted=0, lost=0, control_captured=0)
        return SimpleNamespace(clips=clips, health=SimpleNamespace(rungs={}))

    def live(self) -> Any:
        order = VehicleOrder(
            home=str(self.home),
            truth="",
            profile="laptop",
            gateway="",
            gateway_key="",
            updates="",
            anchors=TrustAnchorsFile(image_root="", director_root=""),
            drive=DriveOrder(
                vehicle_id="v-01", drive_id="new", road_map="m", place_id="p", seconds=1.0
            ),
            progress=str(self.home / "progress"),
        )
        return live(order)

    def left(self) -> int:
        return len(self.spool.pending()) + len(list(self.home.rglob("clips/*/*" + CLIP_SUFFIX)))


@pytest.fixture
def life(tmp_path: Path, clip: Seal, monkeypatch: pytest.MonkeyPatch) -> Life:
    """One clip waits in the spool, two lie sealed since earlier, and the drive will seal two more."""
    life = Life(tmp_path, clip, monkeypatch)
    life.spool.take([life.seal(0, "old")])
    life.seal(1, "old")
    life.seal(2, "old")
    life.happened.clear()
    return life


def test_what_waits_is_sent_before_more_is_taken_in_and_all_goes_home_in_one_life(
    life: Life,
) -> None:
    found = life.live()
    assert life.happened[:3] == ["sent", "taken", "driven"]
    assert life.left() == 0
    assert life.fleet.counts.clips_admitted == 5
    assert found["bytes_sent"] == sum(len(life.clip(k).content) for k in range(5))


def test_a_fleet_that_takes_nothing_does_not_keep_a_vehicle_from_driving(life: Life) -> None:
    life.fleet.is_willing = False
    with pytest.raises(LinkDownError, match="acknowledged everything"):
        life.live()
    assert life.happened == ["driven"]
    assert life.left() == 5
