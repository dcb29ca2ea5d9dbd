"""Writing a request in an upstream's own fields: what it has no field for is refused by name, never dropped."""

from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from providers import sizes
from providers.contract import ErrorKind, MediaInput, MediaRole, Operation, ProviderError, VideoRequest

_SAID_BY_SIZE: Final = frozenset({"aspect_ratio", "resolution"})
_GATEWAY_MAKES: Final = frozenset({"n"})

Write = str | Callable[[Any], Mapping[str, Any]]
"""How a parameter is written: under another name, or as fields made from its value."""


def refuse(name: str, why: str) -> NoReturn:
    """Refuse a request before anything is sent."""
    raise ProviderError(ErrorKind.INVALID_REQUEST, f"{name}: {why}")


def parameters(request: VideoRequest, names: Mapping[str, Write]) -> dict[str, Any]:
    """The explicit parameters as the upstream's fields. INVALID_REQUEST names one that it has no field for.

    `aspect_ratio` and `resolution` agree with `size`, which says them already; `n` is the gateway's.
    """
    written: dict[str, Any] = {}
    for name, value in request.parameters.items():
        if value is None or name in _SAID_BY_SIZE or name in _GATEWAY_MAKES:
            continue
        write = names.get(name)
        if write is None:
            refuse(name, f"{request.model} takes no such parameter; it takes {_list(names)}")
        written.update({write: value} if isinstance(write, str) else write(value))
    return written


def choice(name: str, field: str, among: Mapping[Any, Any]) -> Write:
    """How a parameter is written whose values have words of their own: `among` maps ours to the upstream's."""

    def write(value: Any) -> Mapping[str, Any]:
        if value not in among:
            refuse(name, f"the upstream takes {_list(among)}")
        return {field: among[value]}

    return write


def merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the client's provider_options over it; objects are merged, everything else is replaced."""
    result = dict(body)
    for name, value in options.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = merged(before, value)  # noqa: PLW2901 - the merged one is the value
        result[name] = value
    return result


def operation(request: VideoRequest, *able: Operation) -> None:
    """Refuse an operation that the adapter has no endpoint for."""
    if request.operation not in able:
        refuse("operation", f"{request.model} cannot {request.operation.value}; it can {_list(able)}")


def media(request: VideoRequest, most: Mapping[MediaRole, int]) -> dict[MediaRole, list[MediaInput]]:
    """The input files by role. INVALID_REQUEST for a role that is not in `most`, or more files than it says."""
    by_role: dict[MediaRole, list[MediaInput]] = {role: [] for role in most}
    for item in request.media:
        if item.role not in by_role:
            refuse(item.role.value, f"{request.model} takes no such file; it takes {_list(most)}")
        by_role[item.role].append(item)
        if len(by_role[item.role]) > most[item.role]:
            refuse(item.role.value, f"{request.model} takes at most {most[item.role]}")
    return by_role


def whole_seconds(request: VideoRequest) -> int:
    """The length as the whole number that most upstreams want."""
    if request.seconds != request.seconds.to_integral_value():
        refuse("seconds", f"{request.model} takes whole seconds, not {request.seconds}")
    return int(request.seconds)


def seconds(request: VideoRequest) -> int | float:
    """The length as a JSON number: 5, 2.5."""
    value: Decimal = request.seconds
    return int(value) if value == value.to_integral_value() else float(value)


def aspect_ratio(request: VideoRequest, among: Iterable[str]) -> str:
    """The aspect ratio that the size has, one of those the upstream takes."""
    among = tuple(among)
    ratio = request.aspect_ratio or sizes.aspect_ratio(request.size, among)
    if ratio not in among:
        ratio = None
    return ratio or refuse("size", f"{request.size} has none of the aspect ratios {_list(among)}")


def tier(request: VideoRequest, among: Mapping[str, Any] | Collection[str]) -> Any:
    """The resolution tier of the size: one of `among`, or what `among` maps it to ({"720p": "std"})."""
    name = request.resolution or sizes.tier(request.size)
    if name is None or name not in among:
        refuse("size", f"{request.size} is none of the resolutions {_list(among)}")
    return among[name] if isinstance(among, Mapping) else name


def _list(names: Iterable[Any]) -> str:
    return ", ".join(sorted(str(name) for name in names)) or "none"
