"""What the catalogue fills in, and which providers the environment switches on."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings
from providers.catalog_files import catalog_of
from providers.configured import adapter_names, configured, from_environment
from providers.spec import UpstreamSpec

XAI = catalog_of("xai")


def test_a_table_of_a_known_type_gets_the_whole_catalogue():
    made = configured({"name": "mine", "type": "xai", "api_key_env": "XAI_API_KEY"})
    assert (made.base_url, made.models) == (XAI.base_url, XAI.models)
    elsewhere = configured({"name": "mine", "type": "xai", "base_url": "http://127.0.0.1:9/v1"})
    assert elsewhere.base_url == "http://127.0.0.1:9/v1"


def test_names_choose_models_and_tables_change_them():
    one, two = XAI.models[0], XAI.models[1]
    chosen = configured({"name": "a", "type": "xai", "models": [two.id, one.upstream_id]})
    assert [model.id for model in chosen.models] == [two.id, one.id]
    with pytest.raises(ValueError, match="has no model 'nope'"):
        configured({"name": "a", "type": "xai", "models": ["nope"]})
    changed = configured(
        {
            "name": "a",
            "type": "xai",
            "models": [
                {
                    "id": one.id,
                    "price_per_second_usd": "0.30",
                    "upstream_cost_per_second_usd": "0.01",
                    "weight": 2,
                },
                {"id": "mine/new", "upstream_model": "new-1"},
            ],
        }
    )
    laid = changed.models[0]
    assert (laid.id, laid.price_per_second_usd, laid.weight) == (one.id, Decimal("0.30"), 2)
    assert (laid.seconds, laid.sizes, laid.parameters) == (one.seconds, one.sizes, one.parameters)
    assert [row.amount for row in laid.cost_rows] == [Decimal("0.01")]
    assert len(changed.models) == len(XAI.models) + 1
    assert changed.models[1].id == "mine/new"


def test_what_is_wrong_is_named():
    with pytest.raises(ValidationError, match="weight"):
        configured({"name": "a", "type": "xai", "weight": -1})
    with pytest.raises(ValueError, match="only a name"):
        configured({"name": "a", "base_url": "http://127.0.0.1:9", "models": ["fast"]})
    with pytest.raises(ValidationError, match="base_url"):
        configured({"name": "a"})


def test_the_environment_switches_on_what_has_an_adapter_and_is_not_configured_by_hand():
    key = {"AZURE_OPENAI_API_KEY": "k"}
    assert from_environment(key, ()) == []  # its address is the customer's own, and not told
    told = {**key, "AZURE_OPENAI_ENDPOINT": "https://us.example/"}
    (found,) = from_environment(told, ())
    catalog = catalog_of("azure_openai")
    assert (found.name, found.api_key_env, found.models) == (
        "azure_openai",
        "AZURE_OPENAI_API_KEY",
        catalog.models,
    )
    assert found.base_url == "https://us.example/openai/v1"
    by_hand = UpstreamSpec(name="eu", type="azure_openai", base_url="https://eu.example")
    assert from_environment(told, [by_hand]) == []
    assert from_environment({"AZURE_OPENAI_API_KEY": ""}, ()) == []
    if "xai" not in adapter_names():
        assert from_environment({"XAI_API_KEY": "k"}, ()) == []


def test_a_credential_of_parts_is_joined_and_one_in_a_file_is_read(tmp_path: Path):
    kling = from_environment({"KLING_ACCESS_KEY": "id", "KLING_SECRET_KEY": "secret"}, ())
    assert [(each.name, each.credential) for each in kling] == [("kling", "id:secret")]
    file = tmp_path / "key.json"
    google = {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_PROJECT": "p1"}
    with pytest.raises(ValueError, match="cannot be read"):
        from_environment(google, ())
    file.write_text('{"type": "service_account"}')
    (vertex,) = from_environment(google, ())
    assert (vertex.credential, vertex.options["project"]) == ('{"type": "service_account"}', "p1")


def test_settings_take_both_and_can_be_told_not_to(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://us.example")
    table = {"name": "x", "type": "xai"}
    settings = Settings.model_validate({"upstreams": [table], "upstreams_from_env": True})
    assert [each.name for each in settings.upstreams] == ["x", "azure_openai"]
    assert settings.upstreams[0].models == XAI.models
    off = Settings.model_validate({"upstreams": [table], "upstreams_from_env": False})
    assert [each.name for each in off.upstreams] == ["x"]
