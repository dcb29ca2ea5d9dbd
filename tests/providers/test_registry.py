"""From an [[upstreams]] table to its adapter."""

import pytest

from providers.adapters.openai_compatible import LocalWorker, OpenAICompatible
from providers.contract import Cancels, LooksUp
from providers.http import HttpDoor
from providers.registry import UnknownProviderError, account_of, adapter_factories, build_adapter
from providers.spec import UpstreamSpec


def upstream(**changes) -> UpstreamSpec:
    return UpstreamSpec(**{"name": "acme", "base_url": "http://127.0.0.1:9/v1", **changes})


def test_known_types() -> None:
    assert set(adapter_factories()) >= {"openai_compatible", "local"}


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(
        UnknownProviderError, match=r"'acme' has the unknown type 'sora'.*local.*openai_compatible"
    ):
        build_adapter(upstream(type="sora"), HttpDoor())


def test_dialects() -> None:
    door = HttpDoor()
    plain = build_adapter(upstream(), door)
    local = build_adapter(upstream(type="local"), door)
    named = build_adapter(upstream(options={"dialect": "local"}), door)
    assert (type(plain), type(local), type(named)) == (OpenAICompatible, LocalWorker, LocalWorker)
    assert (plain.submit_safety, local.submit_safety) == ("none", "key")
    assert (plain.poll_interval, local.poll_interval) == (2.0, 0.25)
    assert isinstance(plain, Cancels)
    assert isinstance(plain, LooksUp)


def test_submit_safety_comes_from_the_options_or_from_models_that_agree() -> None:
    one, two = {"id": "a", "submit_safety": "key"}, {"id": "b", "submit_safety": "lookup"}
    door = HttpDoor()
    assert build_adapter(upstream(options={"submit_safety": "lookup"}), door).submit_safety == "lookup"
    assert build_adapter(upstream(models=[one]), door).submit_safety == "key"
    assert build_adapter(upstream(models=[one, two]), door).submit_safety == "none"
    assert account_of(upstream(models=[one, two])).options == {"client_reference": True}
    with pytest.raises(ValueError, match="submit_safety must be"):
        build_adapter(upstream(options={"submit_safety": "maybe"}), door)


def test_the_credential_is_not_shown() -> None:
    assert "s3cret" not in repr(account_of(upstream(api_key="s3cret")))


def test_the_door_does_not_bring_a_command_line_with_it() -> None:
    """httpx would import click, rich and pygments."""
    import subprocess
    import sys

    code = "import sys, providers.registry; sys.exit(bool({'rich', 'click', 'pygments', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
