"""A small request body: read, checked as a form, carried out once per Idempotency-Key."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from litestar import Request
from litestar.di import NamedDependency, Provide
from pydantic import BaseModel

from gateway.http.body import read_body
from gateway.idempotency.service import Answer, Claim, Idempotency, claim_of
from gateway.keys.forms import parse
from gateway.settings import Limits

F = TypeVar("F", bound=BaseModel)
Json = dict[str, Any]

_LIMITS: Final = Limits(json_bytes=256 * 1024)


class Accept:
    """Takes in the body of one request: the dependency `accept`."""

    def __init__(self, request: Request[Any, Any, Any], idempotency: Idempotency) -> None:
        self._request = request
        self._idempotency = idempotency

    async def __call__(
        self, form_type: type[F], action: Callable[[F, Claim | None], Awaitable[Json]]
    ) -> Json:
        """Read the body as `form_type` and carry out `action`, which records its own answer under the claim."""
        request = self._request
        async with read_body(request, _LIMITS, Path(), max_files=0) as body:  # no files: nothing goes to disk
            form = parse(form_type, body.fields)
        project_id = request.user.project_id
        key = request.headers.get("idempotency-key")
        claim = claim_of(project_id, request.method, request.url.path, key, body.hash)

        async def carry_out() -> Answer:
            return 200, await action(form, claim)

        _, answer = await self._idempotency.run(claim, carry_out)
        return answer


def _provide(request: Request[Any, Any, Any], idempotency: NamedDependency[Idempotency]) -> Accept:
    return Accept(request, idempotency)


ACCEPT: Final[Mapping[str, Provide]] = {"accept": Provide(_provide, sync_to_thread=False)}
"""The `dependencies` of a controller that takes in bodies."""
