"""Serve files over plain HTTP, whole or in part: what update clients need and nothing else.

No secret and no trust pass here: clients verify signatures and hashes. So the server is minimal: GET and HEAD
of regular files under one folder, one range per request, no listing. A connection costs a coroutine and no
thread, so that silent or slow ones keep no other out: a link that a vehicle lost in a tunnel stays open on
this side. Every wait has a deadline, and when there are too many connections, the one that has been idle
longest is cut.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import resource
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

from edge.contracts.errors import OperatorError
from fleet.settings import FileServerSettings

_log = logging.getLogger(__name__)

_HEADER_END = b"\r\n\r\n"
_MAX_HEADER_BYTES = 64 * 1024
_RECEIVE_BYTES = 16 * 1024
_PIECE_BYTES = 64 * 1024
_SEND_BUFFER_BYTES = 4 * _PIECE_BYTES
"""Bytes of an answer that the kernel may buffer; a client that stops reading is noticed after so many."""
_BACKLOG = 1024
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_ROOM_S = 0.1
"""Pause until a connection that was cut has given its descriptor back."""

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
"""A file has no more bytes than 19 digits count, and Python refuses to read numbers of thousands."""


def find_file(root: Path, url: str) -> Path | None:
    """Return the file that a request names; None when there is none, or none that may be served.

    Args:
        root: Nothing outside of it is ever served, whatever links point there.
        url: The request's target, still encoded.
    """
    try:
        path = unquote(urlsplit(url).path)
        parts = path.strip("/").split("/")
        if "\0" in path or any(part.startswith(".") for part in parts):
            return None
        found = root.joinpath(*parts).resolve()
        return found if found.is_relative_to(root.resolve()) and found.is_file() else None
    except (ValueError, OSError):  # no URL at all, or a name that no disk can hold
        return None


def find_range(header: str | None, size_bytes: int) -> range | None:
    """Return the bytes that a Range header asks for (RFC 9110, section 14).

    Returns:
        All bytes when there is no header or none that is understood; None when it asks for bytes
        that the file does not have.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return range(size_bytes)
    first, last = match.groups()
    if not first:
        wanted = range(max(0, size_bytes - int(last)), size_bytes)
        return wanted if wanted else None
    begin = int(first)
    end = min(size_bytes, int(last) + 1) if last else size_bytes
    if last and int(last) < begin:
        return range(size_bytes)
    return range(begin, end) if begin < size_bytes else None


class FileServer:
    """Serves one folder from a thread of its own, from construction until ``close``."""

    def __init__(
        self,
        root: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: FileServerSettings | None = None,
    ) -> None:
        """Listen.

        Raises:
            OperatorError: The address is taken, or is none.
        """
        root.mkdir(parents=True, exist_ok=True)
        try:
            self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            raise OperatorError(
                f"update files cannot be served on {host}:{port}: {error}; "
                "give another port, or updates_port=0 for any free one"
            ) from error
        self._listener.setblocking(False)
        self._address = self._listener.getsockname()
        self._root = root
        self._settings = settings or FileServerSettings()
        self._max_connections = min(self._settings.max_connections, _descriptors() // 4)
        self._open: dict[asyncio.Task[None], None] = {}
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="file-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the folder's top is."""
        host, port = self._address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening and cut the requests that are still running."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, self._listener:
            runner.run(self._serve())

    async def _serve(self) -> None:
        accepting = asyncio.create_task(self._accept())
        await self._stopped.wait()
        accepting.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.warning("client_not_accepted", extra={"error": str(error)})
                if error.errno in _NO_ROOM:
                    self._cut_stillest()
                await asyncio.sleep(_NO_ROOM_S)
                continue
            if len(self._open) >= self._max_connections:
                self._cut_stillest()
            task = loop.create_task(self._answer(connection))
            self._open[task] = None
            task.add_done_callback(lambda task: self._open.pop(task, None))

    def _cut_stillest(self) -> None:
        """Make room: of all connections, the one that moved least recently ends."""
        stillest = next(iter(self._open), None)
        if stillest is not None:
            del self._open[stillest]
            stillest.cancel()
            _log.info("client_cut", extra={"connections": len(self._open)})

    def _note_move(self) -> None:
        """Put the running connection behind those that have stood still for longer."""
        task = asyncio.current_task()
        if task is not None and task in self._open:
            self._open[task] = self._open.pop(task)

    async def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
                async with asyncio.timeout(self._settings.header_timeout_s):
                    header = await _receive_header(connection)
                if header:
                    await self._send(connection, _Request(header, self._root))
                    connection.shutdown(socket.SHUT_WR)
            except OSError as error:  # TimeoutError is one
                _log.info("client_lost", extra={"error": str(error) or type(error).__name__})
            except Exception:  # noqa: BLE001 - one request must not end the server
                _log.warning("request_failed", exc_info=True)

    async def _send(self, connection: socket.socket, request: _Request) -> None:
        loop, patience_s = asyncio.get_running_loop(), self._settings.piece_timeout_s
        with request:
            self._note_move()
            async with asyncio.timeout(patience_s):
                await loop.sock_sendall(connection, request.head)
            while request.file is not None and request.wanted:
                piece = request.wanted[:_PIECE_BYTES]
                async with asyncio.timeout(patience_s):
                    sent = await loop.sock_sendfile(
                        connection, request.file, piece.start, len(piece)
                    )
                if not sent:
                    return
                request.wanted = request.wanted[sent:]
                self._note_move()


def _descriptors() -> int:
    """Return how many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


async def _receive_header(connection: socket.socket) -> bytes:
    """Receive until a request's header is whole; empty when the client goes before that, or says too much."""
    received = b""
    while _HEADER_END not in received:
        piece = await asyncio.get_running_loop().sock_recv(connection, _RECEIVE_BYTES)
        if not piece or len(received) > _MAX_HEADER_BYTES:
            return b""
        received += piece
    return received


class _Request(BaseHTTPRequestHandler):
    """One request, from the bytes of its header: what to answer, and which bytes of which file follow."""

    protocol_version = "HTTP/1.1"
    server_version = "ringroad"
    sys_version = ""

    def __init__(self, header: bytes, root: Path) -> None:
        self.root = root
        self.file: BinaryIO | None = None
        self.wanted = range(0)
        """Bytes of ``file`` that are still to be sent."""
        self.client_address = ("", 0)
        said = BytesIO()
        self.rfile, self.wfile = BytesIO(header), said
        self.handle_one_request()
        self.head = said.getvalue()
        """Everything of the answer but the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def do_GET(self) -> None:
        self._answer(is_body_wanted=True)

    def do_HEAD(self) -> None:
        self._answer(is_body_wanted=False)

    def log_message(self, format: str, *arguments: object) -> None:
        _log.debug("file_requested", extra={"request": format % arguments})

    def _answer(self, *, is_body_wanted: bool) -> None:
        path = find_file(self.root, self.path)
        if path is None:
            self._write_header(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        self.file = path.open("rb")  # so that a file that is replaced meanwhile stays in one piece
        wanted = self._answer_with(os.fstat(self.file.fileno()))
        if is_body_wanted:
            self.wanted = wanted

    def _answer_with(self, facts: os.stat_result) -> range:
        """Write the answer's header for the open file; return the range of its bytes to send."""
        tag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
        header = self.headers.get("Range")
        if self.headers.get("If-Range", tag) != tag:
            header = None
        wanted = find_range(header, facts.st_size)
        if wanted is None:
            unmet = {"Content-Range": f"bytes */{facts.st_size}", "Content-Length": "0"}
            self._write_header(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, unmet)
            return range(0)
        fields = {"Content-Length": str(len(wanted)), "ETag": tag, "Accept-Ranges": "bytes"}
        status = HTTPStatus.OK
        if len(wanted) < facts.st_size:
            status = HTTPStatus.PARTIAL_CONTENT
            fields["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{facts.st_size}"
        self._write_header(status, fields)
        return wanted

    def _write_header(self, status: HTTPStatus, fields: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
