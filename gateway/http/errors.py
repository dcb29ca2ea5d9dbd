"""Every answer that is not 2xx, in OpenAI's envelope: our own errors, Litestar's, and what nobody foresaw."""

import re
from http import HTTPStatus
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from gateway.db_group import DatabaseAway, TransactionLost
from gateway.errors import ApiError, BadRequest, Unavailable, envelope
from gateway.redaction import HIDDEN, is_secret

log = structlog.get_logger(__name__)

_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.FORBIDDEN: "permission_denied",
    HTTPStatus.NOT_FOUND: "unknown_path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "payload_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}
_NEVER_RETRY: Final = frozenset(_CODES) - {HTTPStatus.TOO_MANY_REQUESTS}
_NAMED: Final = re.compile(r"parameter '([^']+)'")


def field_error(error: ValidationError, *, code: str | None = None) -> BadRequest:
    """Turn pydantic's first complaint about a request body into a BadRequest that names the field."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = "".join(f"[{part}]" if index else str(part) for index, part in enumerate(first["loc"]))
    missing = first["type"] == "missing"
    message = first["msg"].removeprefix("Value error, ")
    text = f"Missing required parameter: '{name}'." if missing else f"Invalid value for '{name}': {message}."
    return BadRequest(
        text, param=name or None, code=code or ("missing_required_parameter" if missing else None)
    )


def _respond(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response[dict[str, Any]]:
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _api_error(_request: Request[Any, Any, Any], error: ApiError) -> Response[dict[str, Any]]:
    return _respond(error.status, error.envelope(), error.headers)


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Answer for what Litestar itself refuses: unknown paths, wrong methods, oversized bodies, bad parameters."""
    status = error.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected(request, error)
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    if status in _NEVER_RETRY:
        headers["x-should-retry"] = "false"
    code = _CODES.get(HTTPStatus(status), "invalid_request")
    body = envelope(_http_message(request, error), type_="invalid_request_error", code=code)
    return _respond(status, body, headers)


def _http_message(request: Request[Any, Any, Any], error: HTTPException) -> str:
    method, path = request.scope["method"], request.scope["path"][:200]
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"Unknown request URL: {method} {path}. See /docs/api for the paths there are."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = sorted(set((error.headers or {}).get("allow", "").split(", ")) - {"OPTIONS"})
        return f"The method {method} is not allowed on {path}. Use {' or '.join(allowed)}."
    return error.detail


def _validation_error(
    _request: Request[Any, Any, Any], error: ValidationException
) -> Response[dict[str, Any]]:
    """Litestar's own check of a path, query or header parameter: 400 naming it."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    details = first if isinstance(first, dict) else {}
    param = details.get("key")
    message = f"Invalid value for '{param}': {details.get('message') or error.detail}"
    if param is None:
        message = error.detail.partition(" for ")[0]
        named = _NAMED.search(message)
        param = named[1] if named else None
    bad = BadRequest(message if message.endswith(".") else f"{message}.", param=param)
    return _respond(bad.status, bad.envelope(), bad.headers)


def _database_failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The disk is full, or the database lost the transaction: nothing was changed, and a later try may work."""
    log.error("database_failed", method=request.scope["method"], path=_place(request), error=str(error))
    unavailable = Unavailable(
        "The server cannot store anything right now. Nothing was changed; please try again soon.",
        headers={"Retry-After": "5"},
    )
    return _api_error(request, unavailable)


def _database_away(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The server restarts or fails over: a matter of seconds. What was asked may be done, so nothing is promised."""
    log.warning("database_away", method=request.scope["method"], path=_place(request), error=str(error))
    unavailable = Unavailable(
        "The database is away for a moment. Please try again; with the same Idempotency-Key nothing is done twice.",
        code="database_away",
        headers={"Retry-After": "1"},
    )
    return _api_error(request, unavailable)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Log what nobody foresaw; the client learns only the request id."""
    log.error("request_failed", method=request.scope["method"], path=_place(request), exc_info=error)
    request_id = request.scope.get("state", {}).get("request_id", "")
    message = f"The server had an error while processing your request. Please retry; the request id is {request_id}."
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _respond(status, envelope(message, type_="server_error", code="internal_error"), {})


def _place(request: Request[Any, Any, Any]) -> str:
    """The path with its ids, and without what in it is a secret: a callback's token, a link's signature."""
    values = request.scope.get("path_params", {})
    path: str = request.scope["path"]
    for name, value in values.items():
        if is_secret(name):
            path = path.replace(str(value), HIDDEN)
    return path


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    ApiError: _api_error,
    ValidationException: _validation_error,
    HTTPException: _http_error,
    DatabaseAway: _database_away,
    TransactionLost: _database_failed,
    OperationalError: _database_failed,
    Exception: _unexpected,
}
