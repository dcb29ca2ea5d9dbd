"""The API description: what Litestar knows of routes and parameters, plus bodies, answers and errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Operation
from litestar.router import Router
from pydantic import BaseModel

_BINARY: Final = {"type": "string", "format": "binary"}
_EVENT: Final = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_SCHEMAS: Final = {"text/event-stream": _EVENT, "text/csv": {"type": "string"}}
_REF: Final = "#/components/schemas/{model}"
_OPEN_PATHS: Final = (
    "/health/",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/callbacks/",
    "/v1/inputs/",
    "/v1/billing/stripe/webhook",
)
_SECURED: Final = ("401", "403")
_COMMON: Final = ("400", "404", "429", "500", "default")
_JSON: Final = "application/json"
_METHODS: Final = ("get", "post", "put", "patch", "delete", "head")
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _TEXT_OR_NULL,
                "code": _TEXT_OR_NULL,
            },
        }
    },
}


@dataclass
class _Documented(Operation):
    """An operation with our models; the class attributes are set by `documented`."""

    body: ClassVar[type[BaseModel] | None] = None
    answer: ClassVar[type[BaseModel] | None] = None
    media: ClassVar[Sequence[str]] = ()


def documented(
    *,
    body: type[BaseModel] | None = None,
    answer: type[BaseModel] | None = None,
    media: Sequence[str] = (),
) -> type[Operation]:
    """Describe a handler: `@post("/v1/things", operation_class=documented(body=ThingForm, answer=Thing))`.

    `body` is offered as JSON and as multipart/form-data; a field of type `UploadedFile` is a file part.
    `media` are the types of a binary or streamed answer, or of what may come instead of `answer`.
    """
    return type("_Operation", (_Documented,), {"body": body, "answer": answer, "media": tuple(media)})


def dual_media(body: type[BaseModel], answer: type[BaseModel] | None = None) -> type[Operation]:
    """Describe a POST that takes `body` as JSON or as a form, and answers `answer`."""
    return documented(body=body, answer=answer)


class _Unserved(Router):
    """Swallows Litestar's own documentation pages: they load from a CDN and answer 404 in HTML."""

    def register(self, value: Any) -> list[Any]:  # noqa: ARG002
        """Register nothing."""
        return []


def openapi_config(version: str) -> OpenAPIConfig:
    """Configure what Litestar collects; it serves none of it."""
    return OpenAPIConfig(
        title="onereel",
        version=version,
        description="One base URL for every video model: OpenAI's Videos API over any backend.",
        use_handler_docstrings=True,
        openapi_router=_Unserved("/docs", route_handlers=[], include_in_schema=False),
    )


def build_document(app: Litestar) -> dict[str, Any]:
    """Write the whole OpenAPI 3.1 document."""
    document = app.openapi_schema.to_schema()
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Error"] = _ERROR
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    components["responses"] = {
        "Error": {
            "description": "Anything that is not a success.",
            "headers": {"x-request-id": {"schema": {"type": "string"}}},
            "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    }
    document["security"] = [{"bearer": []}]
    described = _described(app)
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _complete(path, item[method], described.get((path, method)), schemas)
    return document


def for_swagger_ui(document: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document down to OpenAPI 3.0.3: the bundled Swagger UI knows no 3.1."""
    return {**_lowered(document), "openapi": "3.0.3"}


def _described(app: Litestar) -> dict[tuple[str, str], type[_Documented]]:
    found = {}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            operation = getattr(handler, "operation_class", None)
            if isinstance(operation, type) and issubclass(operation, _Documented):
                for method in handler.http_methods:
                    found[route.path_format, str(method).lower()] = operation
    return found


def _complete(
    path: str, operation: dict[str, Any], described: type[_Documented] | None, schemas: dict[str, Any]
) -> None:
    open_path = path.startswith(_OPEN_PATHS)
    if open_path:
        operation["security"] = []
    success = {code: each for code, each in operation.get("responses", {}).items() if code.startswith("2")}
    codes = (*_COMMON, *(() if open_path else _SECURED))
    errors = {code: {"$ref": "#/components/responses/Error"} for code in codes}
    operation["responses"] = {**success, **errors}
    if described is None:
        return
    content: dict[str, Any] = {}
    if described.answer is not None:
        content[_JSON] = {"schema": _component(described.answer, "serialization", schemas)}
    for media in described.media:
        content[media] = {"schema": _SCHEMAS.get(media, _BINARY)}
    if content:
        operation["responses"]["200"] = {"description": "Success.", "content": content}
    if described.body is not None:
        operation["requestBody"] = _request_body(described.body, schemas)
        operation["responses"]["413"] = {"$ref": "#/components/responses/Error"}


def _request_body(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    form = _repeats_allowed(model.model_json_schema(ref_template=_REF))
    for name, schema in form.pop("$defs", {}).items():
        schemas.setdefault(name, _without_files(schema))
    content: dict[str, Any] = {}
    json_schema = _without_files(form)
    if json_schema is not None:
        schemas[model.__name__] = json_schema
        content[_JSON] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    content["multipart/form-data"] = {"schema": form}
    return {"required": bool(form.get("required")), "content": content}


def _component(model: type[BaseModel], mode: Any, schemas: dict[str, Any]) -> dict[str, str]:
    schema = model.model_json_schema(ref_template=_REF, mode=mode)
    for name, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    schemas[model.__name__] = schema
    return {"$ref": _REF.format(model=model.__name__)}


def _without_files(schema: Any) -> Any:
    """Drop what only a form can carry; None for a schema that is nothing without its file."""
    if isinstance(schema, list):
        return [kept for each in schema if (kept := _without_files(each)) is not None]
    if not isinstance(schema, dict):
        return schema
    if _is_binary(schema):
        return None
    result = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {
                name: kept for name, each in value.items() if (kept := _without_files(each)) is not None
            }
        elif key in {"items", "anyOf", "oneOf", "allOf"}:
            result[key] = _without_files(value)
        else:
            result[key] = value
    return None if _lost_something(schema, result) else result


def _repeats_allowed(schema: Any) -> Any:
    """Drop `uniqueItems`: in a request, a set forgives what is named twice."""
    if isinstance(schema, list):
        return [_repeats_allowed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _repeats_allowed(value) for key, value in schema.items() if key != "uniqueItems"}


def _is_binary(schema: Mapping[str, Any]) -> bool:
    return _BINARY.items() <= schema.items()


def _lost_something(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether a required property, the only item type or the last alternative was a file."""
    missing = set(before.get("properties", {})) - set(after.get("properties", {}))
    if missing & set(before.get("required", ())) or ("items" in before and after["items"] is None):
        return True
    return any(
        key in before and not [each for each in after[key] if each.get("type") != "null"]
        for key in ("anyOf", "oneOf")
    )


def _lowered(value: Any) -> Any:
    if isinstance(value, list):
        return [_lowered(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    schema = {key: _lowered(each) for key, each in value.items()}
    kind = schema.get("type")
    if isinstance(kind, list):
        others = [each for each in kind if each != "null"]
        schema |= {"type": others[0] if len(others) == 1 else "string", "nullable": "null" in kind}
    if "const" in schema and not isinstance(schema["const"], Mapping):
        schema["enum"] = [schema.pop("const")]
    return _nullable(schema)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    for key in ("anyOf", "oneOf"):
        alternatives: Iterable[Any] = schema.get(key) or ()
        if isinstance(alternatives, list) and {"type": "null"} in alternatives:
            schema[key] = [each for each in alternatives if each != {"type": "null"}]
            schema["nullable"] = True
    return schema
