"""The commands' own small HTTP client (standard library), and how they find the server."""

import json
import mimetypes
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final, cast

from gateway.cli_terminal import CommandError
from gateway.lock import running_server
from gateway.settings import Settings

Json = dict[str, Any]
_TIMEOUT: Final = 60.0
_CHUNK: Final = 256 * 1024
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class ServerError(CommandError):
    """The server refused; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON answer with its headers, whose names are in lower case."""

    body: Json
    headers: Mapping[str, str]


class ServerClient:
    """Talks to one server. `operator` tells that the token is an operator's, so any project may be named."""

    def __init__(self, url: str, token: str, *, operator: bool = False, project: str | None = None) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise CommandError(f"'{url}' is no address of a server; write http://host:port (ONEREEL_URL).")
        self.operator = operator
        self._headers = {"X-Onereel-Project": project} if project and operator else {}
        self._token = token
        host = urllib.parse.urlsplit(self.url).hostname
        handlers = [urllib.request.ProxyHandler({})] if host in _LOOPBACK else []
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> Answer:
        """GET an object. ServerError for a refusal, CommandError if no server answers."""
        return self._json("GET", path)

    def post(self, path: str, body: Json | None = None) -> Answer:
        """POST JSON under a fresh Idempotency-Key."""
        data = json.dumps(body or {}).encode()
        return self._json("POST", path, data, "application/json")

    def post_form(self, path: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> Answer:
        """POST a multipart form."""
        data, content_type = _form(fields, files)
        return self._json("POST", path, data, content_type)

    def delete(self, path: str) -> Answer:
        """DELETE an object."""
        return self._json("DELETE", path)

    def every(self, path: str, **asked: str) -> list[Json]:
        """All objects of a list, oldest first, page by page; `asked` are more query parameters."""
        found: list[Json] = []
        query = {"limit": "100", "order": "asc", **asked}
        while True:
            page = self.get(f"{path}?{urllib.parse.urlencode(query)}").body
            found += page["data"]
            if not page.get("has_more"):
                return found
            query["after"] = page["last_id"]

    def download(self, path: str, out: Path, progress: Callable[[int, int], None]) -> None:
        """Stream content into a file, whole or not at all; `progress` gets bytes so far and in all."""
        part = out.with_name(f".{out.name}.part")
        try:
            with self._open("GET", path) as answer, part.open("wb") as file:
                total = int(answer.headers.get("Content-Length") or 0)
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    progress(file.tell(), total)
                if total and file.tell() != total:
                    raise CommandError(f"The download of {path} broke off; try again.")
            part.replace(out)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror or error}") from None
        finally:
            part.unlink(missing_ok=True)

    def _json(self, method: str, path: str, data: bytes | None = None, content_type: str = "") -> Answer:
        with self._open(method, path, data, content_type) as answer:
            try:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(json.load(answer), headers)
            except ValueError:
                raise CommandError(f"{self.url} does not answer like a onereel server.") from None

    def _open(
        self, method: str, path: str, data: bytes | None = None, content_type: str = ""
    ) -> HTTPResponse:
        request = urllib.request.Request(  # noqa: S310  (the scheme is checked in the constructor)
            self.url + path, data=data, method=method, headers=self._headers
        )
        # Not repeated on a redirect, which may lead to a storage of someone else.
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        if data is not None:
            request.add_header("Content-Type", content_type)
            request.add_header("Idempotency-Key", str(uuid.uuid4()))
        try:
            return cast("HTTPResponse", self._opener.open(request, timeout=_TIMEOUT))
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise CommandError(
                f"No server answers at {self.url} ({reason}). Start one with `onereel serve`, or set ONEREEL_URL."
            ) from None


def find_server(settings: Settings, *, admin: bool, project: str | None = None) -> ServerClient | None:
    """The server of ONEREEL_URL or of the data directory, None if there is none.

    The key is ONEREEL_API_KEY for a user's commands (`admin` False); otherwise ONEREEL_ADMIN_KEY or the running
    server's own control token come first. CommandError without any key.
    """
    running = running_server(settings.data_dir)
    url = os.environ.get("ONEREEL_URL") or (running.url if running else "")
    if not url:
        if running:
            raise CommandError("The server is starting and does not listen yet; try again in a moment.")
        return None
    control = running.control_token if running and url == running.url else ""
    operator = (settings.admin_key.get_secret_value() if settings.admin_key else "") or control
    own = os.environ.get("ONEREEL_API_KEY", "")
    token = (operator or own) if admin else (own or operator)
    if not token:
        raise CommandError(f"No key for {url}. Set ONEREEL_API_KEY (or ONEREEL_ADMIN_KEY).")
    return ServerClient(url, token, operator=token == operator, project=project)


def need_server(settings: Settings) -> ServerClient:
    """The server for a user's command. CommandError if there is none."""
    client = find_server(settings, admin=False)
    if client is None:
        raise CommandError(
            f"No server runs on {settings.data_dir.absolute()}. Start one with `onereel serve`, or set ONEREEL_URL."
        )
    return client


def _refusal(error: urllib.error.HTTPError) -> ServerError:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError, OSError):
        message = f"The server answered {error.code} {error.reason}."
    return ServerError(error.code, message)


def _form(fields: Mapping[str, str], files: Mapping[str, Path]) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"', b"", value.encode()) for name, value in fields.items()]
    for name, path in files.items():
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        filename = urllib.parse.quote(path.name)
        parts.append(
            (
                f'name="{name}"; filename="{filename}"',
                f"Content-Type: {media_type}\r\n".encode(),
                path.read_bytes(),
            )
        )
    head = f"--{boundary}\r\nContent-Disposition: form-data; "
    body = b"".join(
        f"{head}{disposition}\r\n".encode() + more + b"\r\n" + value + b"\r\n"
        for disposition, more, value in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
