"""The reference pages name everything there is: settings with their defaults, metrics, paths, scopes."""

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from billing.prices import Shape
from gateway.app import create_app
from gateway.principal import Scope
from gateway.settings import Settings
from gateway.telemetry import Metrics
from gateway.videos.routing import Catalogue
from local_backend.jobs import Jobs
from local_backend.metrics import WorkerMetrics
from providers.price_rows import PriceRow, Unit
from tests.local_backend.held import HeldEngine

DOCS = Path(__file__).parents[1] / "docs"
NOT_FOR_OPERATORS = {"ONEREEL_CONTROL_TOKEN"}  # `serve` makes it for the command line


def settings_rows(model: type[BaseModel] = Settings, prefix: str = "ONEREEL_") -> Iterator[tuple[str, str]]:
    """Every setting as its variable, and its default as the page writes it."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_rows(field.annotation, f"{variable}__")
        elif variable not in NOT_FOR_OPERATORS:
            default = field.get_default(call_default_factory=True, validated_data={})
            yield variable, _written(default)


def _written(default: Any) -> str:
    if default is None or default in ((), {}) or isinstance(default, SecretStr):
        return "-"
    return f"`{json.dumps(default) if isinstance(default, bool | tuple) else default}`"


def test_every_setting_is_listed_with_its_default() -> None:
    page = (DOCS / "operations.md").read_text()
    missing = [f"| `{name}` | {text} |" for name, text in settings_rows()]
    assert [row for row in missing if row not in page] == []
    known = {name for name, _ in settings_rows()} | {
        "ONEREEL_CONFIG",
        "ONEREEL_URL",
        "ONEREEL_API_KEY",
        "ONEREEL_WORKER_TOKEN",
    }
    assert set(re.findall(r"ONEREEL_[A-Z0-9_]+", page)) <= known


def test_every_metric_is_listed(tmp_path: Path) -> None:
    page = (DOCS / "operations.md").read_text()
    jobs = Jobs(tmp_path, HeldEngine, keep=1)
    exposed = (Metrics().registry, WorkerMetrics(jobs, ()).registry)
    names = {f"`{metric.name}" for registry in exposed for metric in registry.collect()}
    assert {name for name in names if name not in page} == set()


@pytest.mark.parametrize("scope", Scope)
def test_every_scope_is_listed(scope: Scope) -> None:
    assert f"`{scope}`" in (DOCS / "operations.md").read_text()


def test_every_path_is_listed(tmp_path: Path) -> None:
    page = (DOCS / "api.md").read_text()
    app = create_app(Settings(data_dir=tmp_path))
    paths = {re.sub(r"\{\w+\}", "{id}", path) for path in app.openapi_schema.to_schema()["paths"]}
    assert {path for path in paths if f"`{path}`" not in page} == set()


def test_the_example_of_prices_is_a_configuration(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "prices.md").read_text(), re.DOTALL)
    settings = Settings(data_dir=tmp_path, **tomllib.loads(text))
    (upstream,) = settings.upstreams
    assert all(model.price_rows or model.cost_rows for model in upstream.models)
    shape = Shape(Decimal(8), 1280, 720)
    for model in Catalogue(settings).models():
        (route,) = model.routes
        assert route.book.price(route.shape(shape), settings.billing.margin).micros > 0


def test_the_example_of_upstreams_is_a_configuration(tmp_path: Path) -> None:
    texts = re.findall(r"```toml\n(.*?)```", (DOCS / "routing.md").read_text(), re.DOTALL)
    settings, router = (Settings(data_dir=tmp_path, **tomllib.loads(textwrap.dedent(text))) for text in texts)
    assert [model.id for model in router.upstreams[0].models] == ["fal/fal-ai/veo3.1/fast"]
    first, second = settings.upstreams
    assert ([model.id for model in first.models], second.priority) == (["xai/grok-imagine-video"], 1)
    assert len(second.models) > 1
    route = Catalogue(settings).resolve("xai/grok-imagine-video").routes[1]
    assert (route.upstream.name, route.spec.price_per_second_usd) == ("xai-2", Decimal("0.09"))


def test_every_field_of_a_price_row_is_listed() -> None:
    page = (DOCS / "prices.md").read_text()
    assert {name for name in PriceRow.model_fields if f"`{name}`" not in page} == set()
    assert {unit for unit in get_args(Unit) if f"`{unit}`" not in page} == set()
