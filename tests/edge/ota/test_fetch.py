"""Transfers are bounded and resumable, whatever the server does."""

import hashlib
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.errors import HashMismatchError, LinkDownError, OperatorError
from edge.ota.fetch import (
    FetchSettings,
    HttpLink,
    HttpStatusError,
    ResponseBody,
    SlowLinkError,
    fetch_blob,
    fetch_small,
    trim_partials,
)
from edge.ota.slots import partial_path

DATA = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
SHA256 = hashlib.sha256(DATA).hexdigest()
CHUNK = 512


class CuttingLink:
    """Serves ``DATA`` and breaks off after each of the given numbers of bytes, then serves the rest."""

    def __init__(self, cuts, piece=100, ignores_range=False):
        self.cuts = list(cuts)
        self.piece = piece
        self.ignores_range = ignores_range
        self.sent = 0

    def open(self, _url, offset=0):
        start = 0 if self.ignores_range else offset
        return ResponseBody(start, self._chunks(start))

    def _chunks(self, start):
        end = start + self.cuts.pop(0) if self.cuts else len(DATA)
        for at in range(start, min(end, len(DATA)), self.piece):
            piece = DATA[at : min(at + self.piece, end)]
            self.sent += len(piece)
            yield piece
        if end < len(DATA):
            raise LinkDownError("cut")


def fetch(link, disk):
    disk.make_folder("partial")
    fetch_blob(link, "url", sha256=SHA256, size_bytes=len(DATA), disk=disk, chunk_bytes=CHUNK)


@pytest.fixture
def link():
    return HttpLink(FetchSettings())


@given(cuts=st.lists(st.integers(0, 2000), max_size=6), piece=st.integers(1, 900))
def test_any_cuts_end_in_the_whole_blob_and_nothing_is_sent_twice(make_disk_class, cuts, piece):
    disk, link = make_disk_class(), CuttingLink(cuts, piece)
    for _ in cuts:
        try:
            fetch(link, disk)
        except LinkDownError:
            continue
    fetch(link, disk)
    assert disk.read(partial_path(SHA256)) == DATA
    assert link.sent == len(DATA)


@given(cuts=st.lists(st.integers(0, 2000), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_power_loss_between_cuts_resends_at_most_a_chunk_each(make_disk_class, cuts, seed):
    rng = np.random.default_rng(seed)
    disk, link = make_disk_class(), CuttingLink(cuts)
    disk.make_folder("partial")
    for _ in cuts:
        try:
            fetch(link, disk)
        except LinkDownError:
            disk.sync("partial")
            disk.lose_power(rng)
            trim_partials(disk, CHUNK)
    fetch(link, disk)
    assert disk.read(partial_path(SHA256)) == DATA
    assert link.sent <= len(DATA) + len(cuts) * CHUNK


def test_trim_takes_the_last_chunk_and_leaves_those_before(make_disk):
    disk = make_disk()
    disk.make_folder("partial")
    for size, kept in ((0, 0), (1, 0), (CHUNK, 0), (CHUNK + 1, CHUNK), (3 * CHUNK, 2 * CHUNK)):
        disk.write("partial/x", bytes(size))
        trim_partials(disk, CHUNK)
        assert disk.size("partial/x") == kept


def test_server_that_starts_over_is_followed(make_disk):
    disk, link = make_disk(), CuttingLink([700], ignores_range=True)
    with pytest.raises(LinkDownError):
        fetch(link, disk)
    fetch(link, disk)
    assert disk.read(partial_path(SHA256)) == DATA


def test_partial_file_with_a_false_start_is_thrown_away_and_fetched_anew(make_disk):
    disk = make_disk()
    disk.make_folder("partial")
    disk.write(partial_path(SHA256), b"false" * 100)
    with pytest.raises(HashMismatchError, match="dropped"):
        fetch(CuttingLink([]), disk)
    fetch(CuttingLink([]), disk)
    assert disk.read(partial_path(SHA256)) == DATA


def test_blob_longer_than_promised_is_dropped(make_disk):
    disk = make_disk()
    disk.make_folder("partial")
    with pytest.raises(HashMismatchError, match="longer"):
        fetch_blob(
            CuttingLink([]), "url", sha256=SHA256, size_bytes=100, disk=disk, chunk_bytes=CHUNK
        )
    assert disk.names("partial") == ()


def test_small_file_is_checked_for_length_and_hash(make_memory_link):
    files = make_memory_link({"url": DATA})
    assert fetch_small(files, "url", sha256=SHA256, size_bytes=len(DATA)) == DATA
    with pytest.raises(HashMismatchError, match="longer"):
        fetch_small(files, "url", sha256=SHA256, size_bytes=10)
    with pytest.raises(LinkDownError, match="ended after 5000 of 9999"):
        fetch_small(files, "url", sha256=SHA256, size_bytes=9999)
    with pytest.raises(HashMismatchError, match="dropped"):
        fetch_small(files, "url", sha256="0" * 64, size_bytes=len(DATA))


@pytest.fixture
def raw_server():
    """Answer each connection by a given function of the socket, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    threads = []

    def start(speak):
        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    speak(connection, stop)
                except OSError:
                    return

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/file"

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    listener.close()


def test_header_that_drips_is_left(raw_server):
    link = HttpLink(FetchSettings(window_s=0.1))

    def drip_header(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not stop.wait(0.01):
            connection.sendall(b"x")

    with pytest.raises(SlowLinkError, match="bytes/s"):
        link.open(raw_server(drip_header))


def test_first_byte_that_is_long_on_its_way_is_no_slow_transfer(raw_server):
    times = iter([0.0, 0.0, *(100.0 + i / 1000 for i in range(1000))])
    link = HttpLink(FetchSettings(window_s=5.0), clock=lambda: next(times))

    def speak(connection, _stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")

    assert list(link.open(raw_server(speak)).chunks) == [b"1"]


def test_silence_is_left(raw_server):
    link = HttpLink(FetchSettings(stall_s=0.05))
    with pytest.raises(LinkDownError, match="timed out"):
        link.open(raw_server(lambda _connection, stop: stop.wait()))


def test_transfer_past_its_deadline_is_left(raw_server):
    ticks = iter(range(1000))
    link = HttpLink(FetchSettings(deadline_s=20.0, window_s=1e9), clock=lambda: float(next(ticks)))

    def speak(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stop.wait(0.001):
            connection.sendall(bytes(1000))

    with pytest.raises(SlowLinkError, match="not finished in 20 s"):
        list(link.open(raw_server(speak)).chunks)


def test_body_cut_before_its_length_is_an_error(raw_server, link):
    def speak(connection, _stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    with pytest.raises(LinkDownError, match="cut 5 bytes before its end"):
        list(link.open(raw_server(speak)).chunks)


def test_range_answer_without_its_range_is_an_error(raw_server, link):
    def speak(connection, _stop):
        connection.sendall(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\n1")

    with pytest.raises(LinkDownError, match="Content-Range"):
        link.open(raw_server(speak), 5)


def test_redirect_is_not_followed(raw_server, link):
    def speak(connection, _stop):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n")

    with pytest.raises(HttpStatusError, match="302"):
        link.open(raw_server(speak))


def test_junk_instead_of_http_is_an_error(raw_server, link):
    with pytest.raises(LinkDownError):
        link.open(raw_server(lambda connection, _stop: connection.sendall(b"\x00" * 100)))


@pytest.mark.parametrize("url", ["ftp://host/file", "file:///etc/hosts", "nothing"])
def test_address_that_is_not_http_is_the_operators_error(link, url):
    with pytest.raises(OperatorError, match="no http or https address"):
        link.open(url)
