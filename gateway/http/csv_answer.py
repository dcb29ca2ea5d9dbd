"""JSON or a CSV file: the parameter `format`, and the file as it is read."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final, Literal

from litestar import Request
from litestar.params import QueryParameter
from litestar.response import Stream

from gateway.errors import BadRequest

AnyRequest = Request[Any, Any, Any]
Form = Literal["json", "csv", "focus"]
CSV: Final = "text/csv"


def _form(*names: str) -> Any:
    return QueryParameter(
        name="format", description="json, or a file of the whole range.", schema_extra={"enum": list(names)}
    )


def provide_csv_form(request: AnyRequest, form: Annotated[str | None, _form("json", "csv")] = None) -> Form:
    """Read the form of the answer: the dependency `chosen`."""
    return _chosen(request, form, ("json", "csv"))


def provide_focus_form(
    request: AnyRequest, form: Annotated[str | None, _form("json", "csv", "focus")] = None
) -> Form:
    """Read the form of the answer: the dependency `chosen`."""
    return _chosen(request, form, ("json", "csv", "focus"))


def _chosen(request: AnyRequest, form: str | None, known: Sequence[Form]) -> Form:
    if form is None:
        return (
            "csv"
            if request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip() == CSV
            else "json"
        )
    for each in known:
        if form == each:
            return each
    raise BadRequest(f"Invalid value for 'format': use {' or '.join(known)}.", param="format")


def csv_answer(lines: AsyncIterator[str], name: str) -> Stream:
    """Send a CSV file as it is read."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"', "cache-control": "no-store"}
    return Stream(lines, media_type=CSV, headers=headers)
