"""Give out files over plain HTTP, whole or in part: what update clients need and nothing else.

No secret and no trust pass here: clients believe signatures and hashes alone. So this is as small as a
server can be: GET and HEAD of regular files under one folder, one range per request, no listing, a
fixed number of threads.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from edge.contracts.errors import OperatorError

_log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def find_file(root: Path, url: str) -> Path | None:
    """Give the file that a request names; None when there is none, or none that may be seen.

    Args:
        root: Nothing outside of it is ever given out, whatever links point there.
        url: The request's target, still encoded.
    """
    path = unquote(urlsplit(url).path)
    parts = path.strip("/").split("/")
    if "\0" in path or any(part.startswith(".") for part in parts):
        return None
    found = root.joinpath(*parts).resolve()
    return found if found.is_relative_to(root.resolve()) and found.is_file() else None


def find_range(header: str | None, size_bytes: int) -> range | None:
    """Give the bytes that a Range header asks for (RFC 9110, section 14).

    Returns:
        All bytes when there is no header or none that we understand; None when it asks for bytes
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
    """Serves one folder from threads of its own, from construction until ``close``."""

    def __init__(
        self, root: Path, host: str = "127.0.0.1", port: int = 0, threads: int = 16
    ) -> None:
        """Listen.

        Raises:
            OperatorError: The address is taken, or is none.
        """
        root.mkdir(parents=True, exist_ok=True)
        try:
            self._server = _BoundedServer((host, port), root, threads)
        except (OSError, OverflowError) as error:
            raise OperatorError(
                f"update files cannot be served on {host}:{port}: {error}; "
                "give another port, or updates_port=0 for any free one"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="file-server", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the folder's top is."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening and cut the requests that are still running."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _BoundedServer(HTTPServer):
    """Handles each request in one of a few threads; while all are busy, nobody else is let in."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], root: Path, threads: int) -> None:
        self.root = root
        self._free = threading.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="file-server")
        self._open: set[socket.socket] = set()
        self._is_closing = False
        super().__init__(address, _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        while not self._free.acquire(timeout=0.1):
            if self._is_closing:
                self.shutdown_request(request)
                return
        self._open.add(request)
        self._pool.submit(self._handle, request, client_address)

    def shutdown(self) -> None:
        self._is_closing = True
        super().shutdown()

    def server_close(self) -> None:
        super().server_close()
        for request in list(self._open):
            with suppress(OSError):  # it may just have ended by itself
                request.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        self._pool.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.warning("request_failed", exc_info=True)

    def _handle(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as error:
            _log.info("client_lost", extra={"error": str(error)})
        finally:
            self._open.discard(request)
            self.shutdown_request(request)
            self._free.release()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ringroad"
    sys_version = ""
    timeout = 30.0
    server: _BoundedServer

    def do_GET(self) -> None:
        self._answer(is_body_wanted=True)

    def do_HEAD(self) -> None:
        self._answer(is_body_wanted=False)

    def log_message(self, format: str, *arguments: object) -> None:
        _log.debug("file_requested", extra={"request": format % arguments})

    def _answer(self, *, is_body_wanted: bool) -> None:
        path = find_file(self.server.root, self.path)
        if path is None:
            self._say(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        with path.open("rb") as file:
            self._answer_with(file, is_body_wanted=is_body_wanted)

    def _answer_with(self, file: BinaryIO, *, is_body_wanted: bool) -> None:
        """Answer from an open file, so that a file that is replaced meanwhile stays in one piece."""
        facts = os.fstat(file.fileno())
        tag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
        header = self.headers.get("Range")
        if self.headers.get("If-Range", tag) != tag:
            header = None
        wanted = find_range(header, facts.st_size)
        if wanted is None:
            unmet = {"Content-Range": f"bytes */{facts.st_size}", "Content-Length": "0"}
            self._say(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, unmet)
            return
        fields = {"Content-Length": str(len(wanted)), "ETag": tag, "Accept-Ranges": "bytes"}
        status = HTTPStatus.OK
        if len(wanted) < facts.st_size:
            status = HTTPStatus.PARTIAL_CONTENT
            fields["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{facts.st_size}"
        self._say(status, fields)
        if is_body_wanted and wanted:
            self.connection.sendfile(file, wanted.start, len(wanted))

    def _say(self, status: HTTPStatus, fields: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
