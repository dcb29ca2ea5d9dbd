"""Models that an operator adds to onereel.toml."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from gateway.local_worker import LocalWorker
from gateway.settings import Settings
from local_backend.families import FAMILIES, tiny_random
from local_backend.features import FEATURES
from providers.http import HttpDoor
from providers.presets import FamilyName, FeatureName
from providers.registry import build_adapter
from tests.gateway.test_local_worker import completed, eventually, request, running

OWN = """
[local]
enabled = true
models = ["lab/fox"]

[[local.own_models]]
id = "lab/fox"
seconds = [4]
licence = "Apache-2.0"
weights = {{ family = "{family}", {where}, dtype = "float32", rate = "4", file_rate = 24, area = 11520, steps = 2, guidance = 3.0 }}
"""


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    config = tmp_path / "onereel.toml"
    config.write_text(text)
    monkeypatch.setenv("ONEREEL_CONFIG", str(config))
    return Settings(data_dir=tmp_path / "data")


async def test_a_folder_of_weights_is_served_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights"
    tiny_random.build(folder)
    text = OWN.format(family="wan", where=f'origin = "folder", folder = "{folder}"')
    worker = LocalWorker(settings(tmp_path, monkeypatch, text))
    assert [model.id for model in worker.upstream.models] == ["lab/fox"]
    door = HttpDoor()
    async with running(worker):
        await eventually(lambda: worker.state == "ready")
        adapter = build_adapter(worker.upstream, door)
        submitted = await adapter.submit(request(worker))
        assert (await completed(adapter, submitted.handle)).gpu_seconds
    await door.close()


@pytest.mark.parametrize(
    ("family", "where", "message"),
    [
        ("sora", 'repo = "a/b"', "'wan'"),
        ("wan", 'revision = "main"', "name the repo of the hub"),
        ("wan", 'repo = "no-slash"', "repo"),
        ("wan", 'origin = "folder", folder = "weights"', "needs an absolute folder"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, where: str, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(tmp_path, monkeypatch, OWN.format(family=family, where=where))


def test_names_of_onereels_own_are_taken_and_others_must_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = OWN.format(family="wan", where='repo = "a/b"')
    with pytest.raises(ValidationError, match="is a name of onereel's own"):
        settings(tmp_path, monkeypatch, good.replace("lab/fox", "onereel/demo"))
    with pytest.raises(ValidationError, match=r"unknown: lab/wolf; known are .*, lab/fox"):
        settings(tmp_path, monkeypatch, good.replace('models = ["lab/fox"]', 'models = ["lab/wolf"]'))
    with pytest.raises(ValidationError, match="first_block_cache"):
        settings(tmp_path, monkeypatch, good.replace("enabled = true", 'features = ["magic"]'))


def test_the_names_are_those_of_the_worker() -> None:
    assert set(get_args(FamilyName)) == FAMILIES.keys()
    assert set(get_args(FeatureName)) == FEATURES.keys()
