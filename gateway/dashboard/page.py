"""HTML answers: templates, what every page knows, and the headers that keep other sites and other people out."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie

from gateway.dashboard.navigation import sections_for
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.settings import Settings

AnyRequest = Request[Any, Any, Any]

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_NOTICE: Final = "onereel_notice"
_NOTICE_SECONDS: Final = 30


class Pages:
    """Writes pages: the dependency `pages`."""

    def __init__(self, settings: Settings) -> None:
        self._public_url = settings.public_url.rstrip("/") if settings.public_url else None
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(asset=asset_path, Scope=Scope)
        self._templates.filters.update(usd=usd, iso=iso, clock=clock, zipped=zipped)

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by HTTPS."""
        return (self._public_url or "").startswith("https:")

    def base_url(self, request: AnyRequest) -> str:
        """Say where the visitor finds us, without a path."""
        return self._public_url or f"{request.url.scheme}://{request.headers.get('host', '127.0.0.1')}"

    def show(self, request: AnyRequest, template: str, *, status: int = 200, **context: Any) -> Response[str]:
        """Answer with a page, or with a part of one."""
        visitor: Visitor | None = request.scope.get("visitor")  # type: ignore[assignment]
        notice = request.cookies.get(_NOTICE)
        known = {
            "visitor": visitor,
            "csrf_token": visitor.csrf if visitor else "",
            "navigation": sections_for(visitor),
            "path": request.url.path,
            "base_url": self.base_url(request),
            "notice": unquote(notice) if notice else None,
        }
        text = self._templates.get_template(template).render({**known, **context})
        cookies = [_notice_cookie("", 0)] if notice else []
        return Response(
            text, status_code=status, media_type=MediaType.HTML, headers=dict(HEADERS), cookies=cookies
        )


def redirect(path: str, *, done: str | None = None) -> Response[None]:
    """Lead to another page of ours, where `done` is said once."""
    cookies = [_notice_cookie(quote(done[:500]), _NOTICE_SECONDS)] if done else []
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(None, status_code=303, headers=headers, cookies=cookies, media_type=MediaType.TEXT)


def _notice_cookie(value: str, seconds: int) -> Cookie:
    return Cookie(key=_NOTICE, value=value, max_age=seconds, path="/", httponly=True, samesite="lax")


@cache
def asset_path(name: str) -> str:
    """The address of a file of static/, which changes with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{name}?v={digest}"


def usd(text: str | None) -> str:
    """Write the API's decimal text as people do: "0.400000" is $0.40, "0.001250" $0.00125."""
    if text is None:
        return "\N{EN DASH}"
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return text
    whole, _, rest = f"{abs(amount):,f}".partition(".")
    return f"{'-' if amount < 0 else ''}${whole}.{rest.rstrip('0').ljust(2, '0')}"


def iso(seconds: float) -> str:
    """Write a moment for machines."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(seconds: float) -> str:
    """Write a moment for people without JavaScript."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def zipped(labels: Iterable[str], values: Iterable[str]) -> list[tuple[str, str]]:
    """Pair the values of a choice with what people read."""
    return list(zip(values, labels, strict=True))
