"""Every error a client can see, in OpenAI's envelope.

ApiError
  BadRequest (400)  Unauthorized (401)  Forbidden (403)  NotFound (404)
  RequestTimeout (408)  PayloadTooLarge (413)  RateLimited (429)  QuotaExceeded (429)  Unavailable (503)
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ApiError(Exception):
    """An answer that is not 2xx. `param` names the field, the message says the fix."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None
    should_retry: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self._headers = dict(headers or {})

    @property
    def headers(self) -> dict[str, str]:
        """Response headers, with the SDKs' retry hint where the answer is final."""
        if self.should_retry is None:
            return self._headers
        return {"x-should-retry": "true" if self.should_retry else "false", **self._headers}

    def envelope(self) -> dict[str, Any]:
        """The JSON body."""
        return envelope(self.message, type_=self.type, param=self.param, code=self.code)


def envelope(
    message: str, *, type_: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error body; all four keys are always there."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


class BadRequest(ApiError):
    """The request itself must change."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"
    should_retry = False


class Unauthorized(ApiError):
    status = 401
    type = "invalid_request_error"
    default_code = "invalid_api_key"
    should_retry = False


class Forbidden(ApiError):
    status = 403
    type = "permission_error"
    default_code = "permission_denied"
    should_retry = False


class NotFound(ApiError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"
    should_retry = False


class RequestTimeout(ApiError):
    """The request did not come to an end in time; the connection is closed."""

    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Connection": "close"})


class PayloadTooLarge(ApiError):
    status = 413
    type = "invalid_request_error"
    default_code = "payload_too_large"
    should_retry = False


class RateLimited(ApiError):
    """Too fast; `Retry-After` (at most 60) says when."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        seconds = max(1, min(60, int(retry_after + 0.999)))
        super().__init__(message, code=code, headers={"Retry-After": str(seconds), **(headers or {})})


class QuotaExceeded(ApiError):
    """Waiting does not help: money or budget is used up."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"
    should_retry = False


class Unavailable(ApiError):
    status = 503
    type = "server_error"
    default_code = "unavailable"
