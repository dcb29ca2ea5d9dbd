"""A listener on this machine that nobody may reach, and servers that send others to it."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Canary:
    """Listens on 127.0.0.1 and ::1 at one port, and keeps whom it heard."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._sockets = [self._bound(socket.AF_INET, "127.0.0.1", 0)]
        self.port = int(self._sockets[0].getsockname()[1])
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # a machine without it, or the port is another's there
                self._sockets.append(self._bound(socket.AF_INET6, "::1", self.port))
        self._ended, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._end.close()
        self._thread.join(10)
        for each in (*self._sockets, self._ended):
            each.close()

    def hears(self) -> bool:
        """Whether it would have heard: a connection of our own, which is forgotten again."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as own:
            own.settimeout(10)
            own.recv(1)  # until it was closed there
        return bool(self.heard) and self.heard.pop() is not None

    @staticmethod
    def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.bind((host, port))
        made.listen(64)
        return made

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (*self._sockets, self._ended):
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._ended:
                        return
                    connection, address = key.fileobj.accept()  # type: ignore[union-attr]
                    self.heard.append(address)
                    connection.close()


@contextlib.contextmanager
def canary() -> Iterator[Canary]:
    """One that must have heard nothing when the block ends, though it would have."""
    made = Canary()
    try:
        yield made
        assert made.heard == []
        assert made.hears()
    finally:
        made.close()


class Elsewhere:
    """A server that redirects every path, or answers 200, and what it was asked."""

    def __init__(self, status: int = 302) -> None:
        self.locations: dict[str, str] = {}
        self.asked: list[str] = []
        self.posted: list[str] = []
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.answer()

            def do_POST(self) -> None:
                server.posted.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer()

            def answer(self) -> None:
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(status)
                self.send_header("Location", server.locations.get(self.path, "/"))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class Names:
    """A resolver: what each name has for an address, in turn; the last answer stays. What it was asked."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.answers = {name: list(turns) for name, turns in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Answer the next addresses. OSError for an empty turn, and for what is no name here."""
        self.asked.append(host)
        turns = self.answers.get(host, [[]])
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        if not found:
            raise OSError(f"no address at port {port}")
        return found
