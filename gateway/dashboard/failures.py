"""What a page answers when something is refused: JSON where our JavaScript asked, a page otherwise."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from gateway.dashboard.page import Pages, redirect
from gateway.dashboard.session import SignInNeeded, sign_in_path
from gateway.http.errors import EXCEPTION_HANDLERS

AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Exception], Response[Any]]

_TITLES: Final = {
    HTTPStatus.BAD_REQUEST: "That did not work",
    HTTPStatus.FORBIDDEN: "Not for your role",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much at once",
    HTTPStatus.SERVICE_UNAVAILABLE: "Away for a moment",
}


def is_fetch(request: AnyRequest) -> bool:
    """Whether our own JavaScript asks, and not the browser for a page."""
    return request.headers.get("x-onereel") == "fetch"


def page_failures(pages: Pages) -> ExceptionHandlersMap:
    """Make the handlers of every error: what the API would answer, as a page."""

    def shown(kind: Any) -> Handler:
        as_json = cast("Handler", EXCEPTION_HANDLERS[kind])

        def handle(request: AnyRequest, error: Exception) -> Response[Any]:
            answer = as_json(request, error)
            if is_fetch(request):
                return answer
            if isinstance(error, SignInNeeded):
                return redirect(sign_in_path(request.url.path, request.url.query))
            told = cast("dict[str, Any]", answer.content)["error"]
            status = answer.status_code or 500
            page = pages.show(
                request,
                "error.html",
                status=status,
                title=_TITLES.get(HTTPStatus(status), "Something went wrong"),
                message=_message(error, told["message"]),
            )
            page.headers.update(answer.headers)
            return page

        return handle

    return {kind: shown(kind) for kind in EXCEPTION_HANDLERS}


def unknown_page(pages: Pages) -> Handler:
    """Make the application's handler of paths that lead nowhere: a page for browsers, the API's answer for programs."""
    as_json = cast("Handler", EXCEPTION_HANDLERS[HTTPException])

    def handle(request: AnyRequest, error: Exception) -> Response[Any]:
        wants_page = "text/html" in request.headers.get("accept", "") and request.method == "GET"
        if not wants_page or request.url.path.startswith("/v1/"):
            return as_json(request, error)
        title, message = _TITLES[HTTPStatus.NOT_FOUND], "There is no such page."
        return pages.show(request, "error.html", status=404, title=title, message=message)

    return handle


def _message(error: Exception, message: str) -> str:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND:
        return "There is no such page."
    return message
