"""What every adapter must do, whatever its provider, against the provider's fake of `tests.fakes`.

A fake declares in `cannot` what its API has no way to say; nothing else is skipped.
"""

import contextlib
import uuid
from dataclasses import dataclass
from typing import Any, Final

import pytest

from providers.catalog_files import all_catalogs
from providers.contract import (
    Adapter,
    CallbackRefused,
    Cancels,
    Completed,
    ErrorKind,
    Failed,
    Handle,
    ProviderError,
    Running,
    VerifiesCallbacks,
)
from providers.http import HttpDoor
from providers.registry import adapter_factories, build_adapter
from providers.testing_jobs import FAULTS
from providers.testing_provider import FakeProvider
from tests.fakes import FakeProviders, fakes
from tests.providers.wire import ended, video_request

ABILITIES: Final = {"unknown_parameter", "provider_options"}
"""What a fake may declare in `cannot` beside faults."""


@dataclass
class Examined:
    """An adapter and the fake it talks to."""

    adapter: Adapter
    provider: FakeProvider
    fake: FakeProviders

    def request(self, fault: str = "", **changes: Any) -> Any:
        """A request that the provider takes. Skips the test where it cannot express the fault."""
        name = fault.partition(":")[0]
        if name in self.provider.cannot:
            pytest.skip(f"{self.provider.mount}: {self.provider.cannot[name]}")
        values = {"attempt_id": f"att_{uuid.uuid4().hex}", **self.provider.example, **changes}
        return video_request(f"a fox [fault:{fault}]", **values)

    async def submitted(self, fault: str = "", **changes: Any) -> Handle:
        return (await self.adapter.submit(self.request(fault, **changes))).handle

    async def downloaded(self, handle: Handle) -> bytes:
        status = await ended(self.adapter, handle)
        if isinstance(status, Failed):
            raise status.error
        assert isinstance(status, Completed)
        content = await self.adapter.open_content(handle, status.outputs)
        data = b"".join([chunk async for chunk in content.chunks])
        assert content.length in {None, len(data)}
        return data

    def kind(self, fault: str, usual: ErrorKind) -> ErrorKind:
        return self.provider.kinds.get(fault, usual)

    def secrets(self) -> list[str]:
        """What must never be repeated: the credential, and the parts of one that has two."""
        whole = self.provider.credential
        return [part for part in {whole, *whole.split(":")} if len(part) >= 8]


def test_every_adapter_is_examined() -> None:
    examined = {fake.upstream_type or name for name, fake in fakes().items()}
    assert set(adapter_factories()) <= examined
    assert not examined - {
        *adapter_factories(),
        *all_catalogs(),
    }  # a catalogue may name another one's adapter


@pytest.mark.parametrize("name", sorted(fakes()))
def test_a_fake_declares_only_what_it_cannot(name: str) -> None:
    provider = fakes()[name]
    assert set(provider.cannot) <= set(FAULTS) | ABILITIES
    assert all(provider.cannot.values())
    assert not set(provider.cannot) & set(provider.errors), "it can say these"
    assert not set(provider.cannot) & set(provider.kinds)


@pytest.fixture(params=sorted(fakes()))
def examined(request: pytest.FixtureRequest, fake: FakeProviders, door: HttpDoor) -> Examined:
    provider = fakes()[request.param]
    fake.config(api_key=provider.credential)
    return Examined(build_adapter(fake.upstream(request.param), door), provider, fake)


async def test_a_video_from_prompt_to_bytes(examined: Examined) -> None:
    examined.fake.config(run_seconds=[0.2, 0.2])
    handle = await examined.submitted()
    seen = await examined.adapter.poll(handle)
    assert isinstance(seen, Completed if examined.provider.answers_when_done else Running)
    assert isinstance(seen, Completed) or seen.progress is None or 0 <= seen.progress <= 100
    assert (await examined.downloaded(handle))[4:8] == b"ftyp"
    assert examined.fake.stats()["jobs"] == 1


@pytest.mark.parametrize(
    ("fault", "usual"),
    [
        ("failed", ErrorKind.PROVIDER_ERROR),
        ("moderation", ErrorKind.MODERATION_BLOCKED),
        ("out_of_memory", ErrorKind.OUT_OF_MEMORY),
        ("cancelled", ErrorKind.CANCELLED),
        ("expired", ErrorKind.PROVIDER_ERROR),
        ("completed_with_error", ErrorKind.PROVIDER_ERROR),
    ],
)
async def test_every_other_end_is_a_failure_of_its_kind(
    examined: Examined, fault: str, usual: ErrorKind
) -> None:
    status = await ended(examined.adapter, await examined.submitted(fault))
    assert isinstance(status, Failed)
    assert status.error.kind is examined.kind(fault, usual)
    assert status.error.message


@pytest.mark.parametrize(
    ("fault", "usual", "outcome"),
    [
        ("rate_limited", ErrorKind.RATE_LIMITED, (False, 0)),
        ("rate_limited_bare", ErrorKind.RATE_LIMITED, (False, 0)),
        ("business_error", ErrorKind.RATE_LIMITED, (False, 0)),
        ("concurrency", ErrorKind.CONCURRENCY_LIMITED, (False, 0)),
        ("auth", ErrorKind.PROVIDER_AUTH, (False, 0)),
        ("funds", ErrorKind.PROVIDER_FUNDS, (False, 0)),
        ("invalid", ErrorKind.INVALID_REQUEST, (False, 0)),
        ("moderation_submit", ErrorKind.MODERATION_BLOCKED, (False, 0)),
        ("retired", ErrorKind.MODEL_RETIRED, (False, 0)),
        ("html_502", ErrorKind.PROVIDER_UNAVAILABLE, (True, 0)),
        ("server_error", ErrorKind.PROVIDER_UNAVAILABLE, (True, 0)),
        ("drop_before", ErrorKind.PROVIDER_UNAVAILABLE, (True, 0)),
        ("ambiguous_drop", ErrorKind.PROVIDER_UNAVAILABLE, (True, 1)),
        ("ambiguous_504", ErrorKind.PROVIDER_UNAVAILABLE, (True, 1)),
        ("truncated_json", ErrorKind.PROVIDER_ERROR, (True, 1)),
        ("no_id", ErrorKind.PROVIDER_ERROR, (True, 1)),
    ],
)
async def test_one_submit_is_one_create_whatever_comes_back(
    examined: Examined, fault: str, usual: ErrorKind, outcome: tuple[bool, int]
) -> None:
    ambiguous, jobs = outcome
    await examined.submitted()  # so that the create meets a kept connection, which invites a silent resend
    with pytest.raises(ProviderError) as caught:
        await examined.submitted(fault)
    assert (caught.value.kind, caught.value.ambiguous) == (examined.kind(fault, usual), ambiguous)
    assert caught.value.message
    assert not any(secret in caught.value.message for secret in examined.secrets())
    assert caught.value.retry_after == (1 if fault == "rate_limited" else None)
    assert examined.fake.stats()["calls"]["create"] == 2
    assert examined.fake.stats()["jobs"] == jobs + 1


@pytest.mark.parametrize(
    ("fault", "usual"),
    [
        ("unknown_state", ErrorKind.UNKNOWN_STATE),
        ("truncated_poll", ErrorKind.PROVIDER_ERROR),
        ("html_502_poll", ErrorKind.PROVIDER_UNAVAILABLE),
        ("rate_limited_poll", ErrorKind.RATE_LIMITED),
        ("drop_poll", ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
async def test_a_failed_read_raises_and_the_next_one_works(
    examined: Examined, fault: str, usual: ErrorKind
) -> None:
    handle = await examined.submitted(f"{fault}:5")  # a broken GET is sent again on another connection
    with pytest.raises(ProviderError) as caught:
        await examined.adapter.poll(handle)
    assert caught.value.kind is examined.kind(fault, usual)
    for _ in range(5):
        with contextlib.suppress(ProviderError):
            status = await examined.adapter.poll(handle)
    assert isinstance(status, Completed)


async def test_a_lost_job_is_told_apart(examined: Examined) -> None:
    handle = await examined.submitted("lost")
    with pytest.raises(ProviderError) as caught:
        await examined.adapter.poll(handle)
    assert caught.value.kind is ErrorKind.JOB_LOST


@pytest.mark.parametrize(
    ("fault", "usual"),
    [
        ("completed_without_video", ErrorKind.PROVIDER_ERROR),
        ("content_html", ErrorKind.PROVIDER_ERROR),
        ("private_redirect", ErrorKind.PROVIDER_ERROR),
        ("content_502", ErrorKind.PROVIDER_UNAVAILABLE),
        ("truncated_content", ErrorKind.PROVIDER_UNAVAILABLE),
        ("expired_url", ErrorKind.CONTENT_EXPIRED),
        ("expired_foreign_url", ErrorKind.CONTENT_EXPIRED),
    ],
)
async def test_content_that_is_not_to_be_had(examined: Examined, fault: str, usual: ErrorKind) -> None:
    handle = await examined.submitted(fault)
    with pytest.raises(ProviderError) as caught:
        await examined.downloaded(handle)
    assert caught.value.kind is examined.kind(fault, usual)
    if fault in {"content_502", "truncated_content", "expired_url"}:
        assert (await examined.downloaded(handle))[4:8] == b"ftyp"


@pytest.mark.parametrize("fault", ["foreign_url", "foreign_url_field", "slow_body"])
async def test_content_that_comes_another_way(examined: Examined, fault: str) -> None:
    examined.fake.config(body_pause_ms=20)
    assert (await examined.downloaded(await examined.submitted(fault)))[4:8] == b"ftyp"


@pytest.mark.parametrize("fault", ["foreign_url", "foreign_url_field", "expired_foreign_url"])
async def test_the_credential_goes_to_no_other_host(examined: Examined, fault: str) -> None:
    handle = await examined.submitted(fault)
    with pytest.raises(ProviderError) if fault.startswith("expired") else contextlib.nullcontext():
        await examined.downloaded(handle)
    foreign = [r for r in examined.fake.requests() if r["path"].startswith("/foreign/")]
    own = [r for r in examined.fake.requests() if r["path"].startswith(f"/{examined.provider.mount}/")]
    header, _ = examined.provider.credential_header
    assert foreign
    assert not any(header in r["headers"] for r in foreign)
    assert not any(secret in str(r) for r in foreign for secret in examined.secrets())
    assert all(header in r["headers"] for r in own)


async def test_cancel_stops_the_job_and_can_be_repeated(examined: Examined) -> None:
    able = any(handler in {"cancel", "delete"} for _, _, handler in examined.provider.routes)
    assert isinstance(examined.adapter, Cancels) == able
    if not isinstance(examined.adapter, Cancels):
        pytest.skip("this provider cannot cancel")
    handle = await examined.submitted("never")
    assert isinstance(await examined.adapter.poll(handle), Running)
    assert examined.fake.stats()["live"] == 1
    await examined.adapter.cancel(handle)
    await examined.adapter.cancel(handle)
    assert examined.fake.stats()["live"] == 0


async def test_only_the_providers_own_callback_is_believed(examined: Examined) -> None:
    assert isinstance(examined.adapter, VerifiesCallbacks) == (examined.provider.signs_callbacks != "no")
    if not isinstance(examined.adapter, VerifiesCallbacks):
        pytest.skip("this provider proves no callbacks")
    other = await examined.submitted()
    handle = await examined.submitted(callback_url="https://onereel.example/callback/1")
    created = next(r for r in examined.fake.requests("POST") if "onereel.example" in str(r))
    assert created["path"].startswith(f"/{examined.provider.mount}/")
    headers, body = examined.fake.callback()
    await examined.adapter.verify_callback(handle, headers, body)
    with pytest.raises(CallbackRefused):
        await examined.adapter.verify_callback(handle, {}, body)
    if examined.provider.signs_callbacks == "body":
        with pytest.raises(CallbackRefused):
            await examined.adapter.verify_callback(handle, headers, body + b" ")
        with pytest.raises(CallbackRefused):
            await examined.adapter.verify_callback(other, headers, body)


async def test_a_refused_credential_is_the_operators_matter(examined: Examined) -> None:
    handle = await examined.submitted()
    examined.fake.config(api_key="another")
    for call in (examined.submitted(), examined.adapter.poll(handle)):
        with pytest.raises(ProviderError) as caught:
            await call
        assert caught.value.kind is ErrorKind.PROVIDER_AUTH
        assert not any(secret in caught.value.message for secret in examined.secrets())


async def test_what_the_upstream_cannot_be_told_is_refused_before_it_is_asked(examined: Examined) -> None:
    examined.request("unknown_parameter")
    with pytest.raises(ProviderError, match="holographic") as caught:
        await examined.submitted(parameters={"holographic": True})
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.INVALID_REQUEST, False)
    assert examined.fake.stats()["calls"].get("create", 0) == 0


async def test_provider_options_are_merged_last(examined: Examined) -> None:
    examined.request("provider_options")
    await examined.submitted(provider_options={"holographic": "very"})
    sent = [r for r in examined.fake.requests("POST") if "'holographic': 'very'" in str(r["fields"])]
    assert len(sent) == 1


async def test_the_same_key_is_sent_again_for_the_same_attempt(examined: Examined) -> None:
    if not examined.provider.honours_keys:
        assert examined.adapter.submit_safety != "key"
        pytest.skip("this provider knows no idempotency key")
    examined.fake.config(idempotency=True)
    request = examined.request("ambiguous_drop")
    with pytest.raises(ProviderError):
        await examined.adapter.submit(request)
    handle = (await examined.adapter.submit(request)).handle
    assert isinstance(await ended(examined.adapter, handle), Completed)
    assert examined.fake.stats()["jobs"] == 1
