"""A client that talks to an application in this process."""

from typing import Any, cast

import httpx
from litestar import Litestar


def asgi_client(app: Litestar, **options: Any) -> httpx.AsyncClient:
    """No sockets; the application's own 500 is answered, not raised."""
    transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", **options)
