"""What every adapter must do, whatever its provider. New adapters join through `conformance.UPSTREAMS`."""

import contextlib

import pytest

from providers.contract import (
    Adapter,
    Cancels,
    Completed,
    ErrorKind,
    Failed,
    Handle,
    ProviderError,
    Running,
)
from providers.http import HttpDoor
from providers.registry import adapter_factories, build_adapter
from providers.testing import FakeUpstream
from tests.providers.conformance import CREDENTIAL, UPSTREAMS
from tests.providers.wire import ended, video_request


def test_every_adapter_is_examined() -> None:
    assert set(adapter_factories()) == set(UPSTREAMS)


@pytest.fixture(params=sorted(UPSTREAMS))
def adapter(request: pytest.FixtureRequest, fake: FakeUpstream, door: HttpDoor) -> Adapter:
    fake.config(api_key=CREDENTIAL)
    return build_adapter(UPSTREAMS[request.param](fake), door)


async def submitted(adapter: Adapter, fault: str = "") -> Handle:
    return (await adapter.submit(video_request(f"a fox [fault:{fault}]"))).handle


async def downloaded(adapter: Adapter, handle: Handle) -> bytes:
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    content = await adapter.open_content(handle, status.outputs)
    data = b"".join([chunk async for chunk in content.chunks])
    assert content.length in {None, len(data)}
    return data


async def test_a_video_from_prompt_to_bytes(adapter: Adapter, fake: FakeUpstream) -> None:
    fake.config(run_seconds=[0.2, 0.2])
    handle = await submitted(adapter)
    seen = await adapter.poll(handle)
    assert isinstance(seen, Running)
    assert seen.progress is None or 0 <= seen.progress <= 100
    assert (await downloaded(adapter, handle))[4:8] == b"ftyp"
    assert fake.stats()["jobs"] == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
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
    adapter: Adapter, fault: str, kind: ErrorKind
) -> None:
    status = await ended(adapter, await submitted(adapter, fault))
    assert isinstance(status, Failed)
    assert status.error.kind is kind
    assert status.error.message


@pytest.mark.parametrize(
    ("fault", "kind", "outcome"),
    [
        ("rate_limited", ErrorKind.RATE_LIMITED, (False, 0)),
        ("rate_limited_bare", ErrorKind.RATE_LIMITED, (False, 0)),
        ("auth", ErrorKind.PROVIDER_AUTH, (False, 0)),
        ("funds", ErrorKind.PROVIDER_FUNDS, (False, 0)),
        ("invalid", ErrorKind.INVALID_REQUEST, (False, 0)),
        ("moderation_submit", ErrorKind.MODERATION_BLOCKED, (False, 0)),
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
    adapter: Adapter, fake: FakeUpstream, fault: str, kind: ErrorKind, outcome: tuple[bool, int]
) -> None:
    ambiguous, jobs = outcome
    await submitted(adapter)  # so that the create meets a kept connection, which invites a silent resend
    with pytest.raises(ProviderError) as caught:
        await submitted(adapter, fault)
    assert (caught.value.kind, caught.value.ambiguous) == (kind, ambiguous)
    assert CREDENTIAL not in caught.value.message
    assert caught.value.retry_after == (1 if fault == "rate_limited" else None)
    assert len(fake.requests("POST")) == 2
    assert fake.stats()["jobs"] == jobs + 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("unknown_state", ErrorKind.UNKNOWN_STATE),
        ("truncated_poll", ErrorKind.PROVIDER_ERROR),
        ("html_502_poll", ErrorKind.PROVIDER_UNAVAILABLE),
        ("rate_limited_poll", ErrorKind.RATE_LIMITED),
        ("drop_poll", ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
async def test_a_failed_read_raises_and_the_next_one_works(
    adapter: Adapter, fault: str, kind: ErrorKind
) -> None:
    handle = await submitted(adapter, f"{fault}:5")  # a broken GET is sent again on another connection
    with pytest.raises(ProviderError) as caught:
        await adapter.poll(handle)
    assert caught.value.kind is kind
    for _ in range(5):
        with contextlib.suppress(ProviderError):
            status = await adapter.poll(handle)
    assert isinstance(status, Completed)


async def test_a_lost_job_is_told_apart(adapter: Adapter) -> None:
    with pytest.raises(ProviderError) as caught:
        await adapter.poll(await submitted(adapter, "lost"))
    assert caught.value.kind is ErrorKind.JOB_LOST


@pytest.mark.parametrize(
    ("fault", "kind"),
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
async def test_content_that_is_not_to_be_had(adapter: Adapter, fault: str, kind: ErrorKind) -> None:
    handle = await submitted(adapter, fault)
    with pytest.raises(ProviderError) as caught:
        await downloaded(adapter, handle)
    assert caught.value.kind is kind
    if fault in {"content_502", "truncated_content", "expired_url"}:
        assert (await downloaded(adapter, handle))[4:8] == b"ftyp"


@pytest.mark.parametrize("fault", ["foreign_url", "foreign_url_field", "slow_body"])
async def test_content_that_comes_another_way(adapter: Adapter, fake: FakeUpstream, fault: str) -> None:
    fake.config(body_pause_ms=20)
    assert (await downloaded(adapter, await submitted(adapter, fault)))[4:8] == b"ftyp"


@pytest.mark.parametrize("fault", ["foreign_url", "foreign_url_field", "expired_foreign_url"])
async def test_the_credential_goes_to_no_other_host(adapter: Adapter, fake: FakeUpstream, fault: str) -> None:
    handle = await submitted(adapter, fault)
    if fault.startswith("expired"):
        with pytest.raises(ProviderError):
            await downloaded(adapter, handle)
    else:
        await downloaded(adapter, handle)
    foreign = [r for r in fake.requests() if r["path"].startswith("/foreign/")]
    own = [r for r in fake.requests() if r["path"].startswith("/v1/")]
    assert foreign
    assert not any(CREDENTIAL in str(r["headers"]) + str(r["query"]) for r in foreign)
    assert all(CREDENTIAL in str(r["headers"]) for r in own)


async def test_cancel_stops_the_job_and_can_be_repeated(adapter: Adapter, fake: FakeUpstream) -> None:
    if not isinstance(adapter, Cancels):
        pytest.skip("this provider cannot cancel")
    handle = await submitted(adapter, "never")
    assert isinstance(await adapter.poll(handle), Running)
    assert fake.stats()["live"] == 1
    await adapter.cancel(handle)
    await adapter.cancel(handle)
    assert fake.stats()["live"] == 0


async def test_a_refused_credential_is_the_operators_matter(adapter: Adapter, fake: FakeUpstream) -> None:
    fake.config(api_key="another")
    for call in (submitted(adapter), adapter.poll({"id": "video_1"})):
        with pytest.raises(ProviderError) as caught:
            await call
        assert caught.value.kind is ErrorKind.PROVIDER_AUTH


async def test_the_same_key_is_sent_again_for_the_same_attempt(adapter: Adapter, fake: FakeUpstream) -> None:
    fake.config(idempotency=True)
    request = video_request("twice [fault:ambiguous_drop]")
    with pytest.raises(ProviderError):
        await adapter.submit(request)
    handle = (await adapter.submit(request)).handle
    assert isinstance(await ended(adapter, handle), Completed)
    assert fake.stats()["jobs"] == 1
