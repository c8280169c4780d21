"""The server of update files: whole files, parts of files, and nothing else."""

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.service.files import FileServer, find_file, find_range

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "updates" / "blobs").mkdir(parents=True)
    (tmp_path / "updates" / "blobs" / "abc").write_bytes(CONTENT)
    (tmp_path / "updates" / "empty").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"keys")
    return tmp_path / "updates"


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    server = FileServer(root, threads=2)
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


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=0-3", "bytes=9-3", "bytes=-", "what"])
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
    ],
)
def test_what_is_not_a_file_of_the_folder_is_not_there(
    server: FileServer, root: Path, path: str
) -> None:
    (root / ".hidden").write_bytes(b"half written")
    (root / "link").symlink_to(root.parent / "secret")
    assert ask(server, path)[::2] == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server: FileServer, method: str) -> None:
    assert ask(server, "/blobs/abc", method=method)[0] == 501


def test_more_clients_than_threads_wait_their_turn(server: FileServer) -> None:
    address = server.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((address[0], int(address[1])), timeout=10) for _ in range(2)]
    waiting = socket.create_connection((address[0], int(address[1])), timeout=10)
    waiting.sendall(b"GET /blobs/abc HTTP/1.1\r\nHost: x\r\n\r\n")
    silent[0].close()
    assert waiting.recv(12) == b"HTTP/1.1 200"
    silent[1].close()
    waiting.close()


def test_closing_does_not_wait_for_a_client_that_says_nothing(root: Path) -> None:
    server = FileServer(root, threads=1)
    address = server.url.removeprefix("http://").split(":")
    busy = socket.create_connection((address[0], int(address[1])), timeout=10)
    waiting = socket.create_connection((address[0], int(address[1])), timeout=10)
    server.close()
    for one in (busy, waiting):
        one.close()


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
