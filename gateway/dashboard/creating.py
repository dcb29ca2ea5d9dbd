"""What the services want to know of a request that creates something, where a page sends it."""

from collections.abc import Mapping
from typing import Any

from litestar import Request

from gateway.http.body import Body
from gateway.videos.service import Call


def call_of(request: Request[Any, Any, Any], fields: Mapping[str, Any]) -> Call:
    """Describe one create."""
    return Call(request.user, request.scope["path"], Body(dict(fields)).hash)
