"""OpenAI's own schema of the paths we serve, where a copy lies beside the repository."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.sdk.install import ROOT
from tests.sdk.proxy import Exchange

SPEC: Final = ROOT.parent / "shared" / "contracts" / "openai-videos.openapi.json"
_URN: Final = "urn:openai"
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
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


class VendorSchema:
    """Validates answers. Paths that the vendor's document does not describe have no schema."""

    def __init__(self, path: Path = SPEC) -> None:
        self._document = json.loads(path.read_text())

    def problem(self, exchange: Exchange) -> str | None:
        """Say what is wrong with an answer; None where nothing is, or where it has no schema."""
        validator = self._validator(exchange)
        if validator is None or exchange.answer is None:
            return None
        error = next(validator.iter_errors(exchange.answer), None)
        if error is None:
            return None
        return f"{exchange.method} {exchange.path} {exchange.status} at {error.json_path}: {error.message}"

    def covers(self, exchange: Exchange) -> bool:
        """Whether the answer is checked."""
        return exchange.answer is not None and self._validator(exchange) is not None

    def _validator(self, exchange: Exchange) -> Draft202012Validator | None:
        if exchange.status >= 400:
            return Draft202012Validator(_ERROR)
        template = self._template(exchange.path.removeprefix("/v1"))
        operation = self._document["paths"].get(template, {}).get(exchange.method.lower())
        content = (operation or {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in content:
            return None
        where = "/".join(
            part.replace("~", "~0").replace("/", "~1")
            for part in ("paths", template, exchange.method.lower(), "responses", "200", "content")
        )
        reference = f"{_URN}#/{where}/application~1json/schema"
        return Draft202012Validator({"$ref": reference}, registry=self._registry)

    def _template(self, path: str) -> str:
        """The document's name of a path: a literal one before one with parameters."""
        if path in self._document["paths"]:
            return path
        parts = path.split("/")
        for template in self._document["paths"]:
            wanted = template.split("/")
            if len(wanted) == len(parts) and all(
                want == part or want.startswith("{") for want, part in zip(wanted, parts, strict=True)
            ):
                return str(template)
        return ""

    @cached_property
    def _registry(self) -> Any:
        resource = Resource.from_contents(self._document, default_specification=DRAFT202012)
        return Registry().with_resource(_URN, resource)
