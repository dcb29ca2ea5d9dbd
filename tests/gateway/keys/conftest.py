"""A bootstrapped key service over each database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.keys.forms import KeyForm, OrganizationForm
from gateway.keys.service import KeyService, operator_principal
from gateway.principal import Principal
from gateway.settings import Settings


class FakeTime:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(time: FakeTime) -> Clock:
    return Clock(wall=time, monotonic=time)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, data_dir=tmp_path)


@pytest.fixture
async def keys(db: Database, clock: Clock, settings: Settings) -> KeyService:
    service = KeyService(db, clock, settings)
    await service.bootstrap()
    return service


@pytest.fixture
async def elsewhere(db: Database, clock: Clock, settings: Settings) -> AsyncIterator[KeyService]:
    """Open the key service of another process: same database, nothing shared in memory."""
    database = open_database(settings, clock)
    yield KeyService(database, clock, settings)
    await database.close()


@pytest.fixture
def operator() -> Principal:
    return operator_principal()


NewKey = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def new_key(keys: KeyService, operator: Principal) -> NewKey:
    async def make(**fields: Any) -> dict[str, Any]:
        form = KeyForm.model_validate({"name": "test", **fields})
        return await keys.create_key(operator, operator.project_id, form)

    return make


@pytest.fixture
async def stranger(keys: KeyService, operator: Principal) -> Principal:
    """Make the administrator of another organization."""
    organization = await keys.create_organization(operator, OrganizationForm(name="Elsewhere"))
    there = await keys.acting_in(operator, organization["default_project_id"])
    form = KeyForm.model_validate({"name": "boss", "scopes": ["organization"]})
    made = await keys.create_key(there, there.project_id, form)
    return await keys.authenticate(made["value"])
