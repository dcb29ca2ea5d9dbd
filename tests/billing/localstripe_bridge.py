"""localstripe, somebody else's Stripe, in a process of its own behind a bridge that speaks today's dialect to it.

The bridge rewrites what Stripe takes and localstripe does not know: the table below is all of it. Answers pass
unchanged. It notes what our code sent, loses answers when told to, and takes in localstripe's signed webhooks.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.billing.stripe_double import Call

API_KEY = "sk_test_of_localstripe"
SECRET = "whsec_of_localstripe"
HEARD_AT = "/heard"

Json = dict[str, Any]
Pairs = list[tuple[str, str]]

_UNKNOWN: dict[tuple[str, str], str] = {
    ("POST", "/v1/payment_intents"): r"automatic_payment_methods\[.*|description",
    ("GET", "/v1/payment_intents"): r"customer|created\[.*",
    ("POST", "/v1/subscriptions"): r"default_payment_method",
}
"""Fields that localstripe refuses: they are left out."""

_RENAMED = {("POST", "/v1/subscriptions", "items[0][price]"): "items[0][plan]"}
"""It knows plans, and no prices."""


def translated(method: str, path: str, fields: Pairs) -> tuple[str, Pairs]:
    """Say the same in the words that localstripe knows."""
    if match := re.fullmatch(r"/v1/customers/(\w+)/payment_methods", path):
        return "/v1/payment_methods", [*fields, ("customer", match[1])]
    unknown = _UNKNOWN.get((method, path), "(?!)")
    kept = [(name, value) for name, value in fields if not re.fullmatch(unknown, name)]
    return path, [(_RENAMED.get((method, path, name), name), value) for name, value in kept]


@dataclass
class Localstripe:
    """`base_url` is the bridge. `lost` names paths whose next answer is lost, after the work."""

    server_url: str
    base_url: str = ""
    calls: list[Call] = field(default_factory=list)
    heard: list[tuple[bytes, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **fields: Any) -> Json:
        """Do as the account's owner does, past the bridge. Raises urllib.error.HTTPError."""
        status, body = self.forward(method, path, list(fields.items()))
        answer: Json = json.loads(body)
        assert status == 200, answer
        return answer

    def listed(self, kind: str, **fields: Any) -> list[Json]:
        """List up to a hundred objects."""
        return list(self.ask("GET", f"/v1/{kind}", limit=100, **fields)["data"])

    def save_card(self, customer: str, number: str = "4242424242424242") -> str:
        """Attach a new card, as the customer does in the portal."""
        card = {"number": number, "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        made = self.ask(
            "POST", "/v1/payment_methods", type="card", **{f"card[{k}]": v for k, v in card.items()}
        )
        self.ask("POST", f"/v1/payment_methods/{made['id']}/attach", customer=customer)
        return str(made["id"])

    def send_webhooks_to(self, url: str) -> None:
        """Have every event posted, signed, a second after it happened."""
        self._open(
            "POST", f"{self.server_url}/_config/webhooks/ours", urlencode({"url": url, "secret": SECRET})
        )

    def posts(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.method == "POST" and call.path == path]

    def events(self, kind: str) -> list[tuple[bytes, str]]:
        """The deliveries of one type so far."""
        return [each for each in list(self.heard) if json.loads(each[0])["type"] == kind]

    def forward(self, method: str, path: str, fields: Pairs) -> tuple[int, bytes]:
        """Ask localstripe itself."""
        query = urlencode(fields)
        url = f"{self.server_url}{path}"
        if method == "GET":
            return self._open(method, f"{url}?{query}", None)
        return self._open(method, url, query)

    @staticmethod
    def _open(method: str, url: str, body: str | None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        data = None if body is None else body.encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    local: Localstripe

    def _serve(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if url.path == HEARD_AT:
            self.local.heard.append((raw, self.headers["stripe-signature"]))
            self._answer(200, b"{}")
            return
        fields = parse_qsl(raw.decode() or url.query, keep_blank_values=True)
        key = self.headers.get("idempotency-key")
        self.local.calls.append(Call(self.command, url.path, dict(fields), key))
        path, fields = translated(self.command, url.path, fields)
        status, body = self.local.forward(self.command, path, fields)
        if self.command == "POST" and url.path in self.local.lost:
            self.local.lost.remove(url.path)
            self.close_connection = True
            self.connection.close()
            return
        self._answer(status, body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def localstripe() -> Iterator[Localstripe]:
    """Serve until the block ends, an account without anything in it."""
    with _process() as server_url:
        local = Localstripe(server_url)
        handler = type("Handler", (_Handler,), {"local": local})
        bridge = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        bridge.daemon_threads = True
        local.base_url = f"http://127.0.0.1:{bridge.server_address[1]}"
        thread = threading.Thread(target=bridge.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield local
        finally:
            bridge.shutdown()
            thread.join()
            bridge.server_close()


@contextmanager
def _process() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("localstripe_serve.py"))]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fd = listening.fileno()
        process = subprocess.Popen(
            [*command, str(fd)], pass_fds=[fd], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            if not _answers(process, url):
                process.kill()
                said = process.communicate()[1]
                raise RuntimeError(f"localstripe did not start; `make install` installs it:\n{said}")
            yield url
        finally:
            process.terminate()


def _answers(process: "subprocess.Popen[str]", url: str) -> bool:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/js.stripe.com/v3/", timeout=30):
            return True
    return False
