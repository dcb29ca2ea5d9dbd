"""Bytes as they are, to a real server, and what it says to them."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psutil

PATIENCE: Final = 60.0  # seconds; a busy machine is no failure


@dataclass(frozen=True)
class Answer:
    """The first answer on a connection; status 0 where it was closed without one. `seconds` until it was closed or read."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    closed: bool

    def error(self) -> dict[str, Any]:
        """The error object, whose form is checked."""
        found = json.loads(self.body)["error"]
        assert set(found) == {"message", "type", "param", "code"}, found
        assert isinstance(found["message"], str)
        assert found["message"]
        assert self.headers["x-request-id"].startswith("req_")
        return dict(found)


def exchange(port: int, pieces: Iterable[bytes], pause: float = 0.0, *, to_close: bool = False) -> Answer:
    """Send the pieces, each after a pause of seconds, until there is an answer; with `to_close` until it closes."""
    began = time.monotonic()
    received, closed, bodiless = b"", False, False
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        for piece in pieces:
            bodiless = bodiless or piece.startswith(b"HEAD ")
            try:
                connection.sendall(piece)
            except OSError:  # it was closed; what it said may still be there
                break
            if pause and _readable(connection, pause):
                received, closed = _read(connection, received)
                if closed or not to_close:
                    break
        with contextlib.suppress(ConnectionError):
            while (
                not closed
                and time.monotonic() - began < PATIENCE
                and (to_close or not _whole(received, bodiless))
            ):
                received, closed = _read(connection, received)
    return _parsed(received, time.monotonic() - began, closed=closed)


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str | None = None,
    length: int | None = None,
    headers: Iterable[str] = (),
) -> bytes:
    """Write a request as it goes over the wire; `length` is what it announces, whatever it has."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body) if length is None else length}",
        *([f"Authorization: Bearer {key}"] if key else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: Iterable[bytes]) -> Iterator[bytes]:
    """Write the chunks of a body whose length nobody announced."""
    for each in body:
        yield b"%x\r\n%b\r\n" % (len(each), each)
    yield b"0\r\n\r\n"


def connections(pid: int) -> int:
    """How many clients a server holds."""
    return sum(each.status == "ESTABLISHED" for each in psutil.Process(pid).net_connections("tcp"))


def _readable(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK)) or True
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(PATIENCE)


def _read(connection: socket.socket, received: bytes) -> tuple[bytes, bool]:
    try:
        data = connection.recv(65536)
    except ConnectionError:
        return received, True
    return received + data, not data


def _whole(received: bytes, bodiless: bool) -> bool:
    head, mark, body = received.partition(b"\r\n\r\n")
    if not mark or bodiless:
        return bool(mark)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


def _parsed(received: bytes, seconds: float, *, closed: bool) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    status = int(line.split()[1]) if line.startswith("HTTP/1.1 ") else 0
    return Answer(status, headers, body[: int(headers.get("content-length", len(body)))], seconds, closed)
