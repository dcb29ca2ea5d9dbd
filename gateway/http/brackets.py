"""Form names with brackets, as the SDKs write nested JSON into multipart: `a[b]`, `a[]`, `a[][b]`, `a[x][y][]`."""

import re
from collections.abc import Iterable
from typing import Any, Final

from gateway.errors import BadRequest

_NAME: Final = re.compile(r"[^\[\]\x00-\x1f]{1,200}(?:\[[^\[\]\x00-\x1f]{0,200}\])*")
_EACH: Final = ""  # the path element that `[]` stands for


class _Array:
    """A list under construction.

    Clients send a list of objects either object by object or (Python SDK) key by key, so the nth value of a
    sub-key belongs to the nth object. That is unambiguous only while every object ends up with the key.
    """

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._loose: set[tuple[str, ...]] = set()

    def add(self, path: tuple[str, ...], value: Any, name: str) -> None:
        """Append a plain value (empty path) or set `path` in the first object that lacks it."""
        if any(isinstance(item, dict) is not bool(path) for item in self.items):
            raise _conflict(name)
        if not path:
            self.items.append(value)
            return
        if _EACH in path:
            raise BadRequest(
                f"'{name}' nests a list inside a list, which a form cannot express clearly: send JSON.",
                param=name,
                code="invalid_field_name",
            )
        lacking = [item for item in self.items if not _has(item, path)]
        if not lacking:
            lacking = [{}]
            self.items += lacking
        elif len(lacking) > 1:
            self._loose.add(path)
        _insert(lacking[0], path, value, name)

    def finished(self, name: str) -> list[Any]:
        """Give the list; BadRequest if a sub-key could belong to more than one object."""
        for path in self._loose:
            if not all(_has(item, path) for item in self.items):
                raise BadRequest(
                    f"It is unclear which object of '{name}' has the key '{path[0]}': give it to each, or send JSON.",
                    param=name,
                    code="ambiguous_field",
                )
        return [_finished(item, name) for item in self.items]


def split_name(name: str, max_depth: int) -> tuple[str, ...]:
    """`a[b][]` as ("a", "b", ""). BadRequest for broken brackets or more than `max_depth` of them."""
    if name.count("[") > max_depth:
        raise BadRequest(
            f"A field name is nested more than {max_depth} levels deep: '{name[:100]}'.",
            param=name[:100],
            code="too_deep",
        )
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"'{name[:100]}' is not a field name: use name, name[key], name[] or name[][key].",
            param=name[:100] or None,
            code="invalid_field_name",
        )
    head, _, rest = name.partition("[")
    return (head, *rest[:-1].split("][")) if rest else (head,)


def nest(items: Iterable[tuple[str, Any]], *, max_depth: int) -> dict[str, Any]:
    """Build the nested object that (name, value) pairs in wire order spell. BadRequest names the field at fault."""
    root: dict[str, Any] = {}
    for name, value in items:
        _insert(root, split_name(name, max_depth), value, name)
    return {key: _finished(value, key) for key, value in root.items()}


def _insert(into: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> None:
    head, rest = path[0], path[1:]
    if not rest:
        if head in into:
            raise _conflict(name)
        into[head] = value
        return
    if rest[0] == _EACH:
        array = into.setdefault(head, _Array())
        if not isinstance(array, _Array):
            raise _conflict(name)
        array.add(rest[1:], value, name)
        return
    child = into.setdefault(head, {})
    if not isinstance(child, dict):
        raise _conflict(name)
    _insert(child, rest, value, name)


def _has(item: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(item, dict):
            return True  # a plain value sits where the path goes on: occupied
        if key not in item:
            return False
        item = item[key]
    return True


def _finished(value: Any, name: str) -> Any:
    if isinstance(value, _Array):
        return value.finished(name)
    if isinstance(value, dict):
        return {key: _finished(child, f"{name}[{key}]") for key, child in value.items()}
    return value


def _conflict(name: str) -> BadRequest:
    return BadRequest(
        f"The field '{name}' is given twice, or both as one value and as a list or object: send it once.",
        param=name,
        code="duplicate_field",
    )
