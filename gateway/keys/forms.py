"""What a client may say of organizations, projects and keys. Unknown fields are refused."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from gateway.errors import BadRequest
from gateway.principal import DEFAULT_SCOPES, Scope

F = TypeVar("F", bound=BaseModel)


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")  # noqa: TRY004  (pydantic wants ValueError)
    return value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Count = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=1, le=1_000_000)]
UnixSeconds = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=1, le=253_402_300_799)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NameForm(_Form):
    """A new organization or project, or a new name for one."""

    name: Name


class NoFields(_Form):
    """A request that says everything in its path."""


class KeyForm(_Form):
    """A new key. `models` None means every model; limits None mean none. `expires_at` is in Unix seconds."""

    name: Name
    scopes: frozenset[Scope] = Field(default=frozenset(DEFAULT_SCOPES), min_length=1)
    models: frozenset[ModelName] | None = Field(default=None, max_length=500)
    requests_per_minute: Count | None = None
    concurrent_videos: Count | None = None
    expires_at: UnixSeconds | None = None


class KeyChanges(_Form):
    """Changes to a key: only the fields that are sent change; null lifts a limit."""

    name: Name | None = None
    scopes: frozenset[Scope] | None = Field(default=None, min_length=1)
    models: frozenset[ModelName] | None = Field(default=None, max_length=500)
    requests_per_minute: Count | None = None
    concurrent_videos: Count | None = None
    expires_at: UnixSeconds | None = None


def parse(form: type[F], fields: Mapping[str, Any]) -> F:
    """Check a request's fields. BadRequest names the first field that is wrong and what it takes."""
    try:
        return form.model_validate(dict(fields))
    except ValidationError as error:
        raise _bad_request(form, error) from None


def _bad_request(form: type[BaseModel], error: ValidationError) -> BadRequest:
    first = error.errors(include_url=False)[0]
    param = "".join(f"[{part}]" if n else str(part) for n, part in enumerate(first["loc"]))
    if first["type"] == "extra_forbidden":
        taken = ", ".join(form.model_fields) or "none"
        message = f"Unknown field '{param}'. The fields here are: {taken}."
        return BadRequest(message, param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return BadRequest(
            f"Missing required field '{param}'.", param=param, code="missing_required_parameter"
        )
    return BadRequest(
        f"Invalid value for '{param}': {first['msg'].removeprefix('Value error, ')}.", param=param
    )
