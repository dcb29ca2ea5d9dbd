"""Lists as OpenAI pages them: `limit`, `after`, `order` in, one envelope out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from litestar.di import Provide
from litestar.params import QueryParameter

from gateway.errors import BadRequest

_ORDERS: Final = ["asc", "desc"]
DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
_MAX_CURSOR: Final = 200

LimitParameter = Annotated[
    int, QueryParameter(ge=0, le=MAX_LIMIT, description="How many objects to return, 0 to 100.")
]
AfterParameter = Annotated[
    str | None,
    QueryParameter(min_length=1, max_length=_MAX_CURSOR, description="The id that the page starts after."),
]
OrderParameter = Annotated[
    str, QueryParameter(description="By time of creation.", schema_extra={"enum": _ORDERS})
]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list: at most `limit` objects after the id `after`, the newest first if `descending`."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None
    descending: bool = True


def provide_page(
    limit: LimitParameter = DEFAULT_LIMIT, after: AfterParameter = None, order: OrderParameter = "desc"
) -> PageRequest:
    """Read the page a list handler is asked for: the dependency `page`. Bad values are 400 naming the parameter."""
    return PageRequest(limit, after, newest_first(order))


PAGE: Final[Mapping[str, Provide]] = {"page": Provide(provide_page, sync_to_thread=False)}
"""The `dependencies` of a list."""


def newest_first(order: str) -> bool:
    """Read the parameter `order`."""
    if order not in _ORDERS:
        raise BadRequest("Invalid value for 'order': use 'asc' or 'desc'.", param="order")
    return order == "desc"


def list_envelope(data: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Wrap one page. An empty page never has more: SDKs would ask for it for ever."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more and bool(data),
    }


class Listed(Protocol):
    """What a service answers for a list."""

    @property
    def data(self) -> Sequence[dict[str, Any]]:
        """The objects of the page."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether others follow."""
        ...


def listed(page: Listed) -> dict[str, Any]:
    """Wrap a service's page."""
    return list_envelope(page.data, has_more=page.has_more)
