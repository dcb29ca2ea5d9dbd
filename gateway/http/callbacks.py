"""Where upstreams call back: no key, an address that cannot be guessed, and no effect but an earlier poll."""

from typing import Any

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.errors import NotFound
from gateway.videos.callbacks import PATH, Callbacks


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
        self, attempt_id: FromPath[str], token: FromPath[str], callbacks: NamedDependency[Callbacks]
    ) -> dict[str, Any]:
        """Make the job's next poll due now. The body is not read: only the upstream's own answer counts."""
        if not await callbacks.nudge(attempt_id, token):
            raise NotFound("There is no such callback address.")
        return {"received": True}
