"""Fetch bytes from any static HTTP server, which is not trusted.

Every transfer is bounded four ways: a length cap, a stall limit, a rate floor, and a deadline that also
covers the response's header. Blobs grow in content-addressed partial files and go on where they stopped,
after a cut connection as after a power cut, fetching at most one chunk again.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from edge.contracts.errors import HashMismatchError, LinkDownError, OperatorError
from edge.ota.disk import READ_BYTES, Disk
from edge.ota.slots import PARTIAL, partial_path

RANGE_NOT_SATISFIABLE = 416


class HttpStatusError(LinkDownError):
    """The server answered with something other than the bytes."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url} answered {status}; trying again later")
        self.status = status


class SlowLinkError(LinkDownError):
    """The bytes come more slowly than the rate floor allows."""


@dataclass
class FetchSettings:
    """Bounds of one transfer."""

    stall_s: float = 10.0
    """Longest silence, connecting included."""
    window_s: float = 5.0
    """Time over which the rate is measured, after the first byte."""
    floor_bytes_per_s: float = 1024.0
    """Lowest rate over each ``window_s``."""
    deadline_s: float = 1800.0
    """Longest time of one whole transfer."""
    chunk_bytes: int = 256 * 1024
    """A partial file is made durable each time it grows by this much."""


@dataclass(frozen=True)
class ResponseBody:
    """A response: where in the file it starts, and its bytes as they come."""

    offset: int
    chunks: Iterator[bytes]


class Link(Protocol):
    """Something that can open a URL."""

    def open(self, url: str, offset: int = 0) -> ResponseBody:
        """Ask for a file from ``offset`` on; the answer may start at 0 all the same.

        Raises:
            LinkDownError: No answer, no such file, or too slow; also while reading the chunks.
        """
        ...


class HttpLink:
    """HTTP/1.1 with Range, one connection per request, no redirects, no proxy."""

    def __init__(
        self, settings: FetchSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the bounds and a clock in seconds."""
        self._settings = settings
        self._clock = clock

    def open(self, url: str, offset: int = 0) -> ResponseBody:
        """Ask a server; see ``Link.open``."""
        pace = _Pace(url, self._settings, self._clock)
        connection = _connection(url, pace)
        parts = urlsplit(url)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            connection.request("GET", parts.path or "/", headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise LinkDownError(f"{url} cannot be read: {error!r}; trying again later") from error
        except SlowLinkError:
            connection.close()
            raise
        if response.status not in {200, 206}:
            connection.close()
            raise HttpStatusError(url, response.status)
        start = _start_of(url, response) if response.status == 206 else 0
        return ResponseBody(start, _chunks(url, connection, response))


class MetadataFetcher(FetcherInterface):
    """Lets python-tuf fetch its metadata over the bounded link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return self._speak_tuf(self._link.open(url).chunks)
        except HttpStatusError as error:
            raise DownloadHTTPError(str(error), error.status) from error
        except LinkDownError as error:
            raise _tuf_error(error) from error

    @staticmethod
    def _speak_tuf(chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from chunks
        except LinkDownError as error:
            raise _tuf_error(error) from error


def fetch_small(link: Link, url: str, *, sha256: str, size_bytes: int) -> bytes:
    """Fetch a file whose size and hash are known, into memory.

    Raises:
        LinkDownError: It did not come, or not whole.
        HashMismatchError: It is longer or other than promised.
    """
    data = bytearray()
    for chunk in link.open(url).chunks:
        data += chunk
        if len(data) > size_bytes:
            raise HashMismatchError(
                f"{url} is longer than the promised {size_bytes} bytes; dropped"
            )
    if len(data) < size_bytes:
        raise LinkDownError(f"{url} ended after {len(data)} of {size_bytes} bytes")
    _expect_hash(url, hashlib.sha256(data).hexdigest(), sha256)
    return bytes(data)


def fetch_blob(
    link: Link, url: str, *, sha256: str, size_bytes: int, disk: Disk, chunk_bytes: int
) -> None:
    """Fetch a blob into its partial file, going on where an earlier attempt stopped.

    On return the partial file is whole, verified and durable. After a ``LinkDownError`` all that came
    is kept; after a ``HashMismatchError`` nothing is.

    Raises:
        LinkDownError: It did not come, or not whole; call again later.
        HashMismatchError: It is longer or other than promised.
        OSError: The disk is full or broken.
    """
    try:
        _grow(link, url, partial_path(sha256), size_bytes, disk, chunk_bytes)
        _expect_hash(url, _hash_partial(disk, sha256), sha256)
    except HashMismatchError:
        disk.remove(partial_path(sha256))
        raise


def trim_partials(disk: Disk, chunk_bytes: int) -> None:
    """Cut what a power loss may have torn: the last, perhaps unsynced, chunk of every partial file."""
    for name in disk.names(PARTIAL):
        path = f"{PARTIAL}/{name}"
        size = disk.size(path) or 0
        disk.truncate(path, max(0, -(-size // chunk_bytes) - 1) * chunk_bytes)


def _grow(link: Link, url: str, path: str, size_bytes: int, disk: Disk, chunk_bytes: int) -> None:
    have = disk.size(path) or 0
    if have >= size_bytes:
        return
    try:
        body = link.open(url, have)
    except HttpStatusError as error:
        if error.status == RANGE_NOT_SATISFIABLE:
            raise HashMismatchError(
                f"{url} is shorter than the promised {size_bytes} bytes"
            ) from error
        raise
    if body.offset != have:
        disk.write(path, b"")
        have = 0
    waiting = bytearray()
    try:
        for chunk in body.chunks:
            waiting += chunk
            if have + len(waiting) > size_bytes:
                raise HashMismatchError(
                    f"{url} is longer than the promised {size_bytes} bytes; dropped"
                )
            while len(waiting) >= (room := chunk_bytes - have % chunk_bytes):
                _extend(disk, path, waiting[:room])
                have += room
                del waiting[:room]
    except LinkDownError:
        _extend(disk, path, waiting)
        raise
    _extend(disk, path, waiting)
    if have + len(waiting) < size_bytes:
        raise LinkDownError(
            f"{url} ended after {have + len(waiting)} of {size_bytes} bytes; "
            "what came is kept for later"
        )


def _extend(disk: Disk, path: str, data: bytearray) -> None:
    if data:
        disk.append(path, bytes(data))
        disk.sync(path)


def _hash_partial(disk: Disk, sha256: str) -> str:
    digest, offset = hashlib.sha256(), 0
    while piece := disk.read(partial_path(sha256), offset, READ_BYTES):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


def _expect_hash(url: str, found: str, expected: str) -> None:
    if found != expected:
        raise HashMismatchError(
            f"{url} has SHA-256 {found[:12]}, expected {expected[:12]}; dropped"
        )


class _Pace:
    """Bounds one transfer in time; called before and after each read."""

    def __init__(self, url: str, settings: FetchSettings, clock: Callable[[], float]) -> None:
        self._url = url
        self._settings = settings
        self._clock = clock
        self._deadline_s = clock() + settings.deadline_s
        self._window_start_s: float | None = None
        self._window_bytes = 0

    def timeout_s(self) -> float:
        left_s = self._deadline_s - self._clock()
        if left_s <= 0:
            raise SlowLinkError(
                f"{self._url} not finished in {self._settings.deadline_s:.0f} s; trying again later"
            )
        return min(left_s, self._settings.stall_s)

    def count(self, received_bytes: int) -> None:
        """Judge the rate from the first byte on, so that a long delay before it is no low rate."""
        now_s = self._clock()
        if self._window_start_s is None:
            self._window_start_s = now_s
            return
        self._window_bytes += received_bytes
        elapsed_s = now_s - self._window_start_s
        if received_bytes == 0 or elapsed_s < self._settings.window_s:
            return
        rate = self._window_bytes / elapsed_s
        if rate < self._settings.floor_bytes_per_s:
            raise SlowLinkError(
                f"{self._url} came at {rate:.0f} bytes/s, "
                f"at least {self._settings.floor_bytes_per_s:.0f}; trying again later"
            )
        self._window_start_s, self._window_bytes = now_s, 0


class _PacedReader(io.RawIOBase):
    """Reads header and body of a response from a socket, at a bounded pace."""

    def __init__(self, raw: socket.SocketIO, sock: socket.socket, pace: _Pace) -> None:
        self._raw = raw
        self._sock = sock
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._pace.timeout_s())
        count = self._raw.readinto(buffer)
        self._pace.count(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedSocket:
    """The part of a socket that ``http.client`` uses."""

    def __init__(self, sock: socket.socket, pace: _Pace) -> None:
        self._sock = sock
        self._pace = pace

    def makefile(self, _mode: str) -> io.BufferedReader:
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_PacedReader(raw, self._sock, self._pace), READ_BYTES // 16)

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def close(self) -> None:
        self._sock.close()


def _connection(url: str, pace: _Pace) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        raise OperatorError(f"update repository {url!r} is no http or https address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port)
    try:
        sock = socket.create_connection((parts.hostname, port), pace.timeout_s())
        if parts.scheme == "https":
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
    except OSError as error:
        raise LinkDownError(f"{url} cannot be reached: {error!r}; trying again later") from error
    connection.sock = _PacedSocket(sock, pace)
    return connection


def _chunks(
    url: str, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
) -> Iterator[bytes]:
    try:
        while chunk := response.read1(READ_BYTES // 16):
            yield chunk
        if response.length:
            raise LinkDownError(f"{url} was cut {response.length} bytes before its end")
    except (OSError, http.client.HTTPException) as error:
        raise LinkDownError(f"{url} broke off: {error!r}; trying again later") from error
    finally:
        response.close()
        connection.close()


def _start_of(url: str, response: http.client.HTTPResponse) -> int:
    content_range = response.getheader("Content-Range", "")
    match = re.match(r"bytes (\d+)-", content_range)
    if match is None:
        raise LinkDownError(f"{url} answered 206 with Content-Range {content_range!r}")
    return int(match.group(1))


def _tuf_error(error: LinkDownError) -> DownloadError:
    return (SlowRetrievalError if isinstance(error, SlowLinkError) else DownloadError)(str(error))
