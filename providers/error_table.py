"""Which error an upstream's own codes and words mean: a table per provider, pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from providers.answers import Response, clean, decoded, error_from, found, retry_after
from providers.contract import ErrorKind, ProviderError

Rows = Mapping[str, ErrorKind]
"""Regular expression, without regard to case: the kind it means. The first that fits counts."""

_UNSURE: Final = frozenset({ErrorKind.PROVIDER_UNAVAILABLE, ErrorKind.PROVIDER_ERROR})


@dataclass(frozen=True)
class ErrorTable:
    """Classifies a provider's answers; given to `HttpDoor.account` as `errors`.

    `code_at` and `message_at` are dotted places in the JSON body ("error.code", "detail.0.type"), the first that
    holds something counts; `code_header` is a header that has the code, up to a colon, and goes before them.
    `codes` fit a whole code, `words` any part of the message and decide where no code does. `fine` are codes that
    report success. A code decides before the HTTP status, also in HTTP 2xx unless `in_success` is False: then what
    stands there speaks of the job.
    `wait` finds the seconds to wait in a message, where no header tells them.
    """

    code_at: tuple[str, ...] = ("error.code", "error.type", "code")
    message_at: tuple[str, ...] = ("error.message", "message", "error")
    code_header: str = ""
    codes: Rows = field(default_factory=dict)
    words: Rows = field(default_factory=dict)
    fine: frozenset[str] = frozenset()
    wait: str = ""
    in_success: bool = True

    def __call__(self, response: Response) -> ProviderError | None:
        """The error an answer stands for, None for a good one."""
        good = 200 <= response.status < 300
        body = decoded(response.body)
        code = response.headers.get(self.code_header, "").partition(":")[0] or _first(body, self.code_at)
        if good and (code is None or code in self.fine or not self.in_success):
            return None
        message = _first(body, self.message_at) or ""
        kind = self.kind(code, message)
        if kind is None and not good:
            error = error_from(response)
            error.message = clean(message, response.secret) or error.message
            error.retry_after = self._retry_after(response, message)
            error.upstream_code = code or error.upstream_code
            return error
        kind = kind or ErrorKind.PROVIDER_ERROR
        return ProviderError(
            kind,
            clean(message, response.secret) or f"the upstream answered the error {code}",
            ambiguous=kind in _UNSURE and not 400 <= response.status < 500,
            retry_after=self._retry_after(response, message),
            http_status=response.status,
            upstream_code=code,
        )

    def kind(self, code: str | None, message: str = "") -> ErrorKind | None:
        """What a code or, if it says nothing, a message means; None for neither."""
        for pattern, kind in self.codes.items():
            if code and re.fullmatch(pattern, code, re.IGNORECASE):
                return kind
        for pattern, kind in self.words.items():
            if message and re.search(pattern, message, re.IGNORECASE):
                return kind
        return None

    def _retry_after(self, response: Response, message: str) -> float | None:
        told = retry_after(response.headers)
        in_words = re.search(self.wait, message) if self.wait and told is None else None
        return float(in_words[1]) if in_words else told

    def verdict(
        self, code: Any, message: Any = None, usual: ErrorKind = ErrorKind.PROVIDER_ERROR
    ) -> ProviderError:
        """The error of a job that ended without a video; `usual` where neither code nor message says more."""
        named = None if code in {None, ""} else str(code)
        text = clean(str(message or ""))
        kind = self.kind(named, text) or usual
        return ProviderError(
            kind, text or f"the upstream reports: {clean(named or kind.value)}", upstream_code=named
        )


def _first(body: Any, places: tuple[str, ...]) -> str | None:
    for place in places:
        steps = (int(step) if step.isdigit() else step for step in place.split("."))
        value = found(body, *steps)
        if isinstance(value, str | int | float) and value != "":
            return str(value)
    return None
