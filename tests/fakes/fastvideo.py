"""FastVideo's create, which is answered with the finished video. Little of it is documented."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Request
from providers.testing_openai import OpenAIFake
from providers.testing_provider import Asked

_FINISHED: Final = "its create is answered with the finished video or with an error"
_OPEN: Final = "a server of one's own: it takes no money and moderates nothing"
_LIMIT: Final = "its sheet names no limit"


class Fake(OpenAIFake):
    """A model on one's own server."""

    mount = "fastvideo"
    types = ()
    upstream_type = "openai_compatible"
    options: ClassVar[Mapping[str, Any]] = {"dialect": "fastvideo"}
    honours_keys = False
    answers_when_done = True
    routes = (
        ("POST", "/videos/generations", "create"),
        ("GET", "/videos", "list"),
        ("GET", "/videos/{id}", "poll"),
        ("GET", "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "server_error": (503, None, "The engine is not ready."),
        "auth": (401, None, "Unauthorized"),
        "invalid": (400, None, "Invalid request."),
        "lost": (404, None, "Not found."),
    }
    cannot: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("failed", "cancelled", "expired", "completed_with_error"), _FINISHED),
        **dict.fromkeys(("funds", "moderation", "moderation_submit"), _OPEN),
        **dict.fromkeys(("rate_limited", "rate_limited_bare", "rate_limited_poll", "concurrency"), _LIMIT),
        "business_error": "it tells errors by the HTTP status",
        "retired": "it serves the one model it was started with",
        "out_of_memory": "it has no word for it",
        "foreign_url_field": "its sheet names no address",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create in JSON."""
        if request.headers["content-type"] != "application/json":
            raise ValueError("only JSON")
        return super().asked(request)
