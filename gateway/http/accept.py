"""A small request body: read, checked as a form, carried out once per Idempotency-Key."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from litestar import Request
from pydantic import BaseModel

from gateway.http.body import read_body
from gateway.idempotency.service import Answer, Claim, Idempotency, claim_of
from gateway.keys.forms import parse
from gateway.settings import Limits

F = TypeVar("F", bound=BaseModel)
Json = dict[str, Any]

_LIMITS: Final = Limits(json_bytes=256 * 1024)


async def accept(
    request: Request[Any, Any, Any],
    idempotency: Idempotency,
    form_type: type[F],
    action: Callable[[F, Claim | None], Awaitable[Json]],
) -> Json:
    """Read the body as `form_type` and carry out `action`, which records its own answer under the claim."""
    async with read_body(request, _LIMITS, Path(), max_files=0) as body:  # no files, so nothing goes to disk
        form = parse(form_type, body.fields)
    project_id = request.user.project_id
    key = request.headers.get("idempotency-key")
    claim = claim_of(project_id, request.method, request.url.path, key, body.hash)

    async def carry_out() -> Answer:
        return 200, await action(form, claim)

    _, answer = await idempotency.run(claim, carry_out)
    return answer
