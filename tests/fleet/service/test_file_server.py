"""The server of update files: whole files, parts of files, and nothing else."""

import http.client
import logging
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.service.files import FileServer, FileServerSettings, find_file, find_range

CONTENT = bytes(range(256)) * 4
LARGE_BYTES = 8 * 1024 * 1024
PATIENCE_S = 10.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "updates" / "blobs").mkdir(parents=True)
    (tmp_path / "updates" / "blobs" / "abc").write_bytes(CONTENT)
    (tmp_path / "updates" / "empty").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"keys")
    return tmp_path / "updates"


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    server = FileServer(root)
    yield server
    server.close()


def ask(
    server: FileServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def test_a_file_is_given_whole(server: FileServer) -> None:
    status, headers, body = ask(server, "/blobs/abc")
    assert (status, body) == (200, CONTENT)
    assert headers["Accept-Ranges"] == "bytes"


def test_a_download_goes_on_where_it_stopped(server: FileServer) -> None:
    status, headers, body = ask(server, "/blobs/abc", Range="bytes=1000-")
    assert (status, body) == (206, CONTENT[1000:])
    assert headers["Content-Range"] == "bytes 1000-1023/1024"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=0-9", CONTENT[:10]), ("bytes=-4", CONTENT[-4:]), ("bytes=1020-9999", CONTENT[1020:])],
)
def test_a_part_of_a_file_is_given(server: FileServer, header: str, expected: bytes) -> None:
    status, _, body = ask(server, "/blobs/abc", Range=header)
    assert (status, body) == (206, expected)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-1,5-6",
        "lines=0-3",
        "bytes=9-3",
        "bytes=-",
        "what",
        f"bytes=0-{'9' * 5000}",
        f"bytes={'9' * 5000}-",
        f"bytes=-{'9' * 5000}",
    ],
)
def test_a_range_that_is_not_understood_gives_the_whole_file(
    server: FileServer, header: str
) -> None:
    assert ask(server, "/blobs/abc", Range=header)[::2] == (200, CONTENT)


def test_bytes_that_the_file_does_not_have_are_refused(server: FileServer) -> None:
    status, headers, body = ask(server, "/blobs/abc", Range="bytes=1024-")
    assert (status, body) == (416, b"")
    assert headers["Content-Range"] == "bytes */1024"


def test_an_empty_file_is_given(server: FileServer) -> None:
    assert ask(server, "/empty")[::2] == (200, b"")


def test_head_tells_the_size_and_gives_nothing(server: FileServer) -> None:
    status, headers, body = ask(server, "/blobs/abc", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "1024", b"")


def test_a_part_of_another_version_is_not_given(server: FileServer, root: Path) -> None:
    tag = ask(server, "/blobs/abc")[1]["ETag"]
    assert ask(server, "/blobs/abc", Range="bytes=1000-", If_Range=tag)[0] == 206
    (root / "blobs" / "new").write_bytes(CONTENT[::-1] * 2)
    (root / "blobs" / "new").replace(root / "blobs" / "abc")
    assert ask(server, "/blobs/abc", Range="bytes=1000-", If_Range=tag)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/blobs",
        "/nothing",
        "/../secret",
        "/blobs/../../secret",
        "/%2e%2e/secret",
        "/blobs/%2e%2e/%2e%2e/secret",
        "//etc/passwd",
        "/blobs/abc%00",
        "/.hidden",
        "/link",
        "/" + "a" * 5000,
        "/a" * 5000,
    ],
)
def test_what_is_not_a_file_of_the_folder_is_not_there(
    server: FileServer, root: Path, path: str
) -> None:
    (root / ".hidden").write_bytes(b"half written")
    (root / "link").symlink_to(root.parent / "secret")
    assert ask(server, path)[::2] == (404, b"")


def test_a_target_that_is_no_url_names_no_file(root: Path) -> None:
    assert find_file(root, "http://[::1/blobs/abc") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server: FileServer, method: str) -> None:
    assert ask(server, "/blobs/abc", method=method)[0] == 501


def address_of(server: FileServer) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return host, int(port)


@contextmanager
def connected(server: FileServer, count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    """Hold some connections that say this and then nothing, and do not read."""
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(PATIENCE_S)
            one.connect(address_of(server))
            one.sendall(say)
            held.append(stack.enter_context(one))
        yield held


@contextmanager
def serving(root: Path, **settings: float) -> Iterator[FileServer]:
    server = FileServer(root, settings=FileServerSettings(**settings))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()


def is_ended(one: socket.socket) -> bool:
    """Wait until the server ended a connection; False when it says something or keeps it open."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"GET /blobs/abc HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01"])
def test_connections_that_say_nothing_whole_keep_no_client_out(root: Path, said: bytes) -> None:
    with serving(root, header_timeout_s=60.0) as server, connected(server, 200, said):
        assert ask(server, "/blobs/abc")[::2] == (200, CONTENT)


def test_clients_that_do_not_read_keep_no_client_out(root: Path) -> None:
    (root / "large").write_bytes(bytes(LARGE_BYTES))
    request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(root, piece_timeout_s=60.0) as server, connected(server, 40, request):
        assert ask(server, "/blobs/abc")[::2] == (200, CONTENT)


def test_a_connection_that_says_nothing_is_ended(root: Path) -> None:
    with serving(root, header_timeout_s=0.1) as server, connected(server, 3) as held:
        assert all(is_ended(one) for one in held)


def test_a_header_that_comes_byte_by_byte_has_no_more_time_than_another(root: Path) -> None:
    with serving(root, header_timeout_s=0.3) as server, connected(server, 1, b"GET /") as (slow,):
        slow.settimeout(0.02)  # between two bytes
        sent, is_open = 0, True
        while is_open and sent < PATIENCE_S / 0.02:
            try:
                slow.sendall(b"x")
                sent += 1
                is_open = slow.recv(1) != b""
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert sent < PATIENCE_S / 0.02


def test_a_header_without_end_is_cut_off(root: Path) -> None:
    with serving(root, header_timeout_s=60.0) as server, connected(server, 1) as (endless,):
        with suppress(OSError):
            for _ in range(100):
                endless.sendall(b"x: y\r\n" * 1000)
        assert is_ended(endless)


def test_a_client_that_stops_reading_is_cut_off(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "large").write_bytes(bytes(LARGE_BYTES))
    request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
    caplog.set_level(logging.INFO, logger="fleet.service.files")
    with (
        event_of("client_lost") as is_cut,
        serving(root, piece_timeout_s=0.2) as server,
        connected(server, 1, request) as (stuck,),
    ):
        assert is_cut.wait(PATIENCE_S)
        received = 0
        with suppress(ConnectionResetError):
            while piece := stuck.recv(65536):
                received += len(piece)
        assert received < LARGE_BYTES


@contextmanager
def event_of(name: str) -> Iterator[threading.Event]:
    """Give what is set when the server logs an event of this name, in its own thread."""
    heard, log = threading.Event(), logging.getLogger("fleet.service.files")

    def hear(record: logging.LogRecord) -> bool:
        if record.msg == name:
            heard.set()
        return True

    log.addFilter(hear)
    yield heard
    log.removeFilter(hear)


def test_a_large_file_is_given_whole_to_a_client_that_reads(server: FileServer, root: Path) -> None:
    content = random.Random(0).randbytes(LARGE_BYTES)
    (root / "large").write_bytes(content)
    assert ask(server, "/large")[::2] == (200, content)
    assert ask(server, "/large", Range="bytes=70001-")[2] == content[70001:]


def test_of_too_many_connections_the_one_that_stands_still_the_longest_ends(root: Path) -> None:
    settings = {"header_timeout_s": 60.0, "max_connections": 8}
    with serving(root, **settings) as server, connected(server, 8) as held:
        assert ask(server, "/blobs/abc")[::2] == (200, CONTENT)
        assert is_ended(held[0])
        held[-1].sendall(b"GET /blobs/abc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held[-1].recv(12) == b"HTTP/1.1 200"


def test_a_download_that_goes_on_outlives_any_number_of_silent_connections(root: Path) -> None:
    content = random.Random(0).randbytes(LARGE_BYTES)
    (root / "large").write_bytes(content)
    with serving(root, header_timeout_s=60.0, max_connections=4) as server:
        download = http.client.HTTPConnection(*address_of(server), timeout=PATIENCE_S)
        download.request("GET", "/large")
        response, received = download.getresponse(), b""
        with ExitStack() as stack:
            while piece := response.read(LARGE_BYTES // 8):
                received += piece
                stack.enter_context(connected(server, 2))
        download.close()
    assert received == content


def test_closing_does_not_wait_for_a_client_that_says_nothing(root: Path) -> None:
    server = FileServer(root)
    with connected(server, 2) as held:
        server.close()
        assert all(is_ended(one) for one in held)


@given(st.text(alphabet="bytes=-,0123456789 x", max_size=20), st.integers(0, 50))
def test_a_found_range_lies_within_the_file(header: str, size_bytes: int) -> None:
    found = find_range(header, size_bytes)
    assert found is None or (found.start >= 0 and found.stop <= size_bytes)


@given(st.text(max_size=30))
def test_no_request_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "served"
    root.mkdir(exist_ok=True)
    found = find_file(root, "/" + path)
    assert found is None or str(found).startswith(str(root.resolve()) + os.sep)
