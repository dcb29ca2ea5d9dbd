"""What Stripe takes: pydantic models made of the stripe package's own parameter types, unknown fields forbidden."""

import sys
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NotRequired, Union, get_args, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from stripe import RequestOptions, StripeContext
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import is_typeddict

_OF_THE_CLIENT = frozenset(RequestOptions.__annotations__)


class Refusal(Exception):
    """An error as Stripe answers it."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": "invalid_request_error", "message": message, "param": param, **more}


@cache
def validator(params: type) -> type[BaseModel]:
    """Make the model of a parameter type; forms send text, which pydantic casts."""
    namespace = {**vars(sys.modules[params.__module__]), "StripeContext": StripeContext, "Mapping": Mapping}
    hints = typing.get_type_hints(params, localns=namespace, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        if name in _OF_THE_CLIENT:
            continue
        required = get_origin(hint) is not NotRequired and name in params.__required_keys__  # type: ignore[attr-defined]
        fields[_safe(name)] = (
            _type(hint) if required else _type(hint) | None,
            Field(... if required else None, alias=name),
        )
    return create_model(params.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def check(params: type, fields: dict[str, Any]) -> None:
    """Refuse what the parameter type does not allow, in Stripe's words."""
    try:
        validator(params).model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = _bracketed(first["loc"])
        if first["type"] == "extra_forbidden":
            raise Refusal(
                f"Received unknown parameter: {param}", param=param, code="parameter_unknown"
            ) from None
        if first["type"] == "missing":
            text = f"Missing required param: {param}."
            raise Refusal(text, param=param, code="parameter_missing") from None
        raise Refusal(f"Invalid {param}: {first['msg']}", param=param) from None


def decode(form: str) -> dict[str, Any]:
    """Nest `a[0][b]=c` as Stripe does."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form)):
        keys = name.replace("]", "").split("[")
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        if keys[-1] in node:
            raise Refusal(f"Received {name} twice", param=name)
        node[keys[-1]] = value
    found = _lists(root)
    assert isinstance(found, dict)
    return found


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdecimal() or key == "" for key in node):
        return [_lists(node[key]) for key in sorted(node, key=lambda key: int(key or 0))]
    return {key: _lists(value) for key, value in node.items()}


def _type(hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return _type(args[0])
    if is_typeddict(hint):
        return validator(hint)
    if origin in {Union, types.UnionType}:
        return _union(args)
    if origin is list:
        return list[_type(args[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[_type(args[0]), _type(args[1])]  # type: ignore[misc]
    return Any if hint in {StripeContext, UntypedStripeObject} else hint


def _union(args: tuple[Any, ...]) -> Any:
    """Drop what only code can pass, and the `str` that stands for values of later API versions."""
    kept = [arg for arg in args if (get_origin(arg) or arg) is not UntypedStripeObject]
    named = any(get_origin(arg) is Literal and set(get_args(arg)) != {""} for arg in kept)
    if named:
        kept = [arg for arg in kept if arg is not str]
    return Union[tuple(_type(arg) for arg in kept)]  # noqa: UP007  (made at run time)


def _safe(name: str) -> str:
    """A field name pydantic accepts; the alias keeps the true one."""
    return f"field_{name}"


def _bracketed(loc: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in loc]
    return parts[0] + "".join(f"[{part}]" for part in parts[1:])
