"""Azure OpenAI's videos: OpenAI's under another path, with a key in a header of its own and reasons for a failure."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_openai import OpenAIFake
from providers.testing_provider import Asked

_BASE: Final = "/openai/v1"
_FIELDS: Final = frozenset({"model", "prompt", "seconds", "size"})


class Fake(OpenAIFake):
    """One resource with one deployment."""

    mount = "azure_openai"
    types = ()
    base_path = _BASE
    options: ClassVar[Mapping[str, Any]] = {"dialect": "azure"}
    credential_header = ("api-key", "")
    honours_keys = False
    routes = (
        ("POST", _BASE + "/videos", "create"),
        ("POST", _BASE + "/videos/{source}/remix", "create"),
        ("GET", _BASE + "/videos", "list"),
        ("GET", _BASE + "/videos/{id}", "poll"),
        ("DELETE", _BASE + "/videos/{id}", "delete"),
        ("GET", _BASE + "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "429", "Rate limit reached."),
        "server_error": (500, "InternalServerError", "The server had an error."),
        "auth": (401, "401", "Access denied due to invalid subscription key."),
        "invalid": (400, "BadRequest", "Invalid value for 'seconds'."),
        "moderation_submit": (400, "content_filter", "The response was filtered."),
        "lost": (404, "NotFound", "Video not found."),
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": "its sheet names no answer for it",
        "concurrency": "its sheet knows only the rate limit",
        "retired": "its sheet names no answer for it",
        "out_of_memory": "it has no word for it",
        "expired": "its sheet names no such state",
        "foreign_url_field": "it names no address",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create with OpenAI's own fields."""
        if unknown := request.fields.keys() - _FIELDS - {"holographic"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        return super().asked(request)

    def video(self, request: Request, job: Job, state: str) -> dict[str, Any]:
        """A video object that tells by a reason what moderation withheld."""
        video = super().video(request, job, state)
        if state == "moderation":
            video |= {"error": None, "failure_reason": "output_moderation"}
        return video

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error in an error."""
        error: dict[str, Any] = {"code": code, "message": message}
        if code == "content_filter":
            error["innererror"] = {"code": "ResponsibleAIPolicyViolation"}
        return as_json({"error": error}, status)
