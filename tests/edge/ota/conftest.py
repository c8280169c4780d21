"""A fleet to attack and a vehicle to protect: signed repositories, a loopback server that can misbehave,
a disk that can lose power, and networks small enough to compute on paper (``answer = weight * asked``)."""

import shutil
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edge.contracts.arrays import pack_arrays, unpack_arrays
from edge.contracts.bundle import EngineKind, Precision, TensorSpec
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.errors import ContractError, LinkDownError
from edge.contracts.release import Assignment, release_of
from edge.contracts.time import NS_PER_S
from edge.ota import (
    AgentSettings,
    FetchSettings,
    Identity,
    TrialRule,
    TrustAnchors,
    golden_probe,
    install_factory_bundle,
    open_agent,
)
from edge.ota.disk import LocalDisk
from edge.ota.fetch import ResponseBody
from fleet.bundle.bundle import BundleSpec, EngineKey, answered, build_bundle, write_bundle
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, create_keys

NOW_NS = 1_800_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S
VEHICLE = "car-1"
PROFILE = "laptop"
SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="asked", dtype="float32", shape=(3,)),),
    outputs=(TensorSpec(name="answer", dtype="float32", shape=(3,)),),
    thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
)


class ToyEngine:
    """A network with one weight."""

    def __init__(self, weight):
        self.weight = weight

    def run(self, inputs):
        return {"answer": (inputs["asked"] * self.weight).astype(np.float32)}


def open_toy(_engine, path, _manifest):
    try:
        return ToyEngine(unpack_arrays(path.read_bytes())["weight"][0])
    except OSError as error:
        raise ContractError(str(error)) from error


def toy_bundle(folder, weight, counter, *, profile=PROFILE, answers=None, padding=0):
    """Build a bundle whose engine multiplies by ``weight`` and whose golden answers say ``answers``."""
    path = folder / f"toy-{weight}-{padding}.engine"
    rng = np.random.default_rng(padding)
    arrays = {
        "weight": np.array([weight], np.float32),
        "padding": rng.integers(0, 256, padding).astype(np.uint8),
    }
    path.write_bytes(pack_arrays(arrays))
    asked = [{"asked": np.array([1, 2, 3], np.float32)}]
    golden = answered(ToyEngine(weight if answers is None else answers), asked)
    files = {EngineKey(EngineKind.ONNX, Precision.FP32): path}
    return build_bundle(
        files, SPEC, golden, tolerance=0.01, profile=profile, release_counter=counter
    )


@dataclass
class Fleet:
    """Both repositories on a folder tree, and everything needed to release and assign."""

    folder: Path
    keys: KeyRing
    image: ImageRepository
    director: DirectorRepository

    @property
    def tree(self):
        return self.folder / "tree"

    def build(self, weight, counter, **kwargs):
        return toy_bundle(self.folder, weight, counter, **kwargs)

    def release(self, bundle, *, signers=("release-a", "release-b"), minimum=None, now_ns=NOW_NS):
        release = self.image.propose(bundle, now_ns)
        for signer in signers:
            self.image.sign(signer)
        self.image.publish(now_ns, minimum_signatures=minimum)
        return release

    def assign(self, release, *, vehicle_id=VEHICLE, now_ns=NOW_NS, **kwargs):
        assignment = Assignment(vehicle_id=vehicle_id, release=release, **kwargs)
        return self.director.assign(assignment, now_ns)

    def offer(self, weight, counter, **kwargs):
        """Release a bundle and assign it to the vehicle under test."""
        bundle = self.build(weight, counter, **kwargs)
        self.assign(self.release(bundle))
        return bundle

    def snapshot(self, name):
        """Keep a copy of the whole tree as it is served now."""
        return Path(shutil.copytree(self.tree, self.folder / name))


def open_fleet(folder, keys):
    tree, drafts = folder / "tree", folder / "drafts"
    return Fleet(folder, keys, ImageRepository(tree, drafts, keys), DirectorRepository(tree, keys))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    ring = KeyRing(tmp_path_factory.mktemp("keys"))
    create_keys(ring)
    return ring


@pytest.fixture(scope="session")
def newborn_fleet(tmp_path_factory, keys):
    """A fleet of one vehicle with nothing released; copied for each test."""
    fleet = open_fleet(tmp_path_factory.mktemp("fleet"), keys)
    fleet.image.create(NOW_NS)
    fleet.director.create(NOW_NS)
    fleet.director.enrol(VEHICLE, NOW_NS)
    return fleet


@pytest.fixture
def fleet(tmp_path, keys, newborn_fleet):
    shutil.copytree(newborn_fleet.folder, tmp_path / "fleet")
    return open_fleet(tmp_path / "fleet", keys)


@pytest.fixture
def anchors(newborn_fleet):
    return TrustAnchors(newborn_fleet.image.root_bytes(), newborn_fleet.director.root_bytes())


@dataclass
class Server:
    """A static file server with Range, and the tricks it can be told to play."""

    tree: Path
    url: str = ""
    requests: list = field(default_factory=list)
    """(path, first byte asked for, bytes sent)"""
    served_instead: dict = field(default_factory=dict)
    """Path to the bytes that are sent in its place."""
    cut_after: dict = field(default_factory=dict)
    """Path to how many bytes of an answer get through, once."""
    endless: set = field(default_factory=set)
    dripping: set = field(default_factory=set)
    ignores_range: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def sent_bytes(self, path):
        return sum(sent for asked, _, sent in self.requests if asked == path)


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self.path.lstrip("/")
            file = server.tree / path
            if path not in server.served_instead and not file.is_file():
                self.send_error(404)
                return
            data = server.served_instead.get(path)
            data = file.read_bytes() if data is None else data
            asked = self.headers.get("Range", "") if not server.ignores_range else ""
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            if start and start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if path not in server.endless:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:]
            cut = server.cut_after.pop(path, None)
            sent = 0
            try:
                if path in server.dripping:
                    while not server.stop.wait(0.01):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                        sent += 1
                while path in server.endless and not server.stop.is_set():
                    self.wfile.write(bytes(65536))
                    sent += 65536
                self.wfile.write(body if cut is None else body[:cut])
                sent += len(body) if cut is None else cut
            except OSError:
                pass
            server.requests.append((path, start, sent))
            self.close_connection = True

    return Handler


@pytest.fixture
def server(fleet):
    told = Server(fleet.tree)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(told))
    http.daemon_threads = True
    told.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    told.stop.set()
    http.shutdown()
    thread.join()
    http.server_close()


@dataclass
class Vehicle:
    """One vehicle: its disk, its settings, and its agent for a while."""

    root: Path
    settings: AgentSettings
    anchors: TrustAnchors
    probe: object
    boots: int = 0

    def start(self, now_ns=NOW_NS):
        """Start a process with an agent, as a context manager."""
        self.boots += 1
        return open_agent(
            self.root,
            identity=Identity(VEHICLE, PROFILE),
            settings=self.settings,
            anchors=self.anchors,
            probe=self.probe,
            boot_id=f"boot-{self.boots}",
            now_ns=now_ns,
        )

    def step(self, now_ns=NOW_NS, **kwargs):
        """Start a process, look once at the repositories, and end."""
        with self.start(now_ns) as agent:
            return agent.step(now_ns, **kwargs)


@pytest.fixture
def vehicle(tmp_path, fleet, server, anchors):
    """A vehicle that left the factory with weight 1, counter 1."""
    write_bundle(fleet.build(1.0, 1), tmp_path / "factory")
    install_factory_bundle(tmp_path / "vehicle", tmp_path / "factory")
    settings = AgentSettings(
        base_url=server.url,
        trial=TrialRule(ticks=10),
        progress_s=0.0,
        fetch=FetchSettings(chunk_bytes=4096),
    )
    return Vehicle(tmp_path / "vehicle", settings, anchors, golden_probe(open_toy))


@dataclass
class MemoryLink:
    """Files in memory, served at once."""

    files: dict
    chunk_bytes: int = 1000

    def open(self, url, offset=0):
        if url not in self.files:
            raise LinkDownError(f"{url} is not there")
        data = self.files[url][offset:]
        pieces = range(0, len(data), self.chunk_bytes)
        return ResponseBody(offset, (data[i : i + self.chunk_bytes] for i in pieces))


@pytest.fixture
def make_memory_link():
    return MemoryLink


class PowerLoss(BaseException):
    """The machine is gone; nothing may catch it."""


@dataclass
class Inode:
    """A file: what is surely on the platter, and what programs see."""

    durable: bytes = b""
    seen: bytes = b""


@dataclass
class FakeDisk:
    """A disk on which only what was synced is sure, and which can lose power before any operation.

    At a loss, every file that was not synced may hold its old bytes, its new ones, or new ones with a
    torn tail; every entry of a folder that was not synced may or may not have changed, in any
    combination that keeps their order.
    """

    folders: dict = field(default_factory=lambda: {"": {}})
    pending: dict = field(default_factory=dict)
    """Folder to its unsynced changes: each a list of (name, inode or None), applied together."""
    operations: int = 0
    dies_at: int | None = None
    is_full_at: int | None = None

    def _count(self):
        if self.operations == self.dies_at:
            raise PowerLoss
        if self.operations == self.is_full_at:
            raise OSError("No space left on device")
        self.operations += 1

    def _view(self, folder):
        entries = dict(self.folders.get(folder, {}))
        for change in self.pending.get(folder, []):
            _apply(entries, change)
        return entries

    def _inode(self, path):
        folder, _, name = path.rpartition("/")
        return self._view(folder).get(name)

    def _change(self, folder, *entries):
        self.pending.setdefault(folder, []).append(entries)

    def lose_power(self, rng):
        """Keep what was durable, and of the rest whatever chance leaves."""
        inodes = set()
        for folder, changes in self.pending.items():
            for change in changes:
                inodes |= {id(inode) for _, inode in change if inode is not None}
                if rng.random() < 0.5:
                    _apply(self.folders[folder], change)
        self.pending = {}
        for entries in self.folders.values():
            for inode in entries.values():
                inode.durable = inode.seen = _torn(inode, rng)
        self.dies_at = None
        return self

    def read(self, path, offset=0, length=None):
        inode = self._inode(path)
        if inode is None:
            return None
        return inode.seen[offset:] if length is None else inode.seen[offset : offset + length]

    def size(self, path):
        inode = self._inode(path)
        return None if inode is None else len(inode.seen)

    def names(self, folder):
        return tuple(sorted(self._view(folder)))

    def write(self, path, data):
        self._count()
        inode = self._inode(path)
        if inode is None:
            inode = Inode()
            folder, _, name = path.rpartition("/")
            self._change(folder, (name, inode))
        inode.seen = data

    def append(self, path, data):
        self.write(path, (self.read(path) or b"") + data)

    def truncate(self, path, size):
        self.write(path, (self.read(path) or b"")[:size])

    def replace(self, source, target):
        self._count()
        inode = self._inode(source)
        source_folder, _, source_name = source.rpartition("/")
        target_folder, _, target_name = target.rpartition("/")
        if source_folder == target_folder:
            self._change(source_folder, (source_name, None), (target_name, inode))
        else:
            self._change(source_folder, (source_name, None))
            self._change(target_folder, (target_name, inode))

    def remove(self, path):
        self._count()
        folder, _, name = path.rpartition("/")
        if name in self._view(folder):
            self._change(folder, (name, None))

    def make_folder(self, folder):
        self._count()
        self.folders.setdefault(folder, {})

    def sync(self, path):
        self._count()
        if path in self.folders:
            for change in self.pending.pop(path, []):
                _apply(self.folders[path], change)
            return
        inode = self._inode(path)
        inode.durable = inode.seen

    def free_bytes(self):
        return 10**9

    def locate(self, path):
        return Path(path)


def _apply(entries, change):
    for name, inode in change:
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode


def _torn(inode, rng):
    if inode.durable == inode.seen or rng.random() < 0.3:
        return inode.durable
    if rng.random() < 0.5:
        return inode.seen
    keep = int(rng.integers(0, len(inode.seen) + 1))
    return inode.seen[:keep] + bytes(len(inode.seen) - keep)


@pytest.fixture
def make_disk():
    return FakeDisk


@pytest.fixture
def power_loss():
    return PowerLoss


@pytest.fixture
def toy_release():
    """Build (bundle, release) pairs without repositories."""

    def make(folder, weight, counter, **kwargs):
        bundle = toy_bundle(folder, weight, counter, **kwargs)
        return bundle, release_of(bundle.manifest)

    return make


@pytest.fixture(scope="session")
def make_disk_class():
    """The same as ``make_disk``, for property tests."""
    return FakeDisk


@pytest.fixture(scope="session")
def make_local_disk():
    return LocalDisk
