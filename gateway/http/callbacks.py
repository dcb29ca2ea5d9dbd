"""Where upstreams call back: no key, an address that cannot be guessed, and no effect but an earlier poll."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.errors import NotFound, PayloadTooLarge
from gateway.http.body import read_raw
from gateway.settings import Settings
from gateway.videos.callbacks import LONGEST_BODY, PATH, Callbacks


class CallbacksController(Controller):
    path = PATH
    tags = ["Callbacks"]

    @post(
        "/{attempt_id:str}/{token:str}",
        status_code=200,
        operation_id="receiveCallback",
        summary="Tell the gateway that an upstream job has changed",
    )
    async def receive(
        self,
        request: Request[Any, Any, Any],
        attempt_id: FromPath[str],
        token: FromPath[str],
        callbacks: NamedDependency[Callbacks],
        settings: NamedDependency[Settings],
    ) -> dict[str, Any]:
        """Make the job's next poll due now, whatever the body says: only the upstream's own answer counts."""
        if not callbacks.is_ours(attempt_id, token):
            raise NotFound("There is no such callback address.")
        body = await _bounded(request, settings.limits.body_seconds)
        answer = await callbacks.receive(attempt_id, _headers(request), body)
        return answer or {"received": True}


def _headers(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _bounded(request: Request[Any, Any, Any], seconds: float) -> bytes | None:
    """Read the body, None where it is longer than any callback."""
    try:
        return await read_raw(request, LONGEST_BODY, seconds)
    except PayloadTooLarge:
        return None
