"""A client's webhook receiver that is often in a bad mood, and remembers what it got."""

import json
import random
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class Receiver:
    """Counts deliveries per video. The first answer to a fifth of the events is a 500."""

    def __init__(self) -> None:
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.types: dict[str, set[str]] = defaultdict(set)
        self.accepted: dict[str, int] = defaultdict(int)
        self._lock = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = receiver.take(self.headers["webhook-id"], body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def take(self, event_id: str, body: dict[str, Any]) -> int:
        video_id = body["data"]["id"]
        with self._lock:
            first = not self.ids[video_id]
            self.ids[video_id].add(event_id)
            self.types[video_id].add(body["type"])
            if first and random.random() < 0.2:
                return 500
            self.accepted[video_id] += 1
            return 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
