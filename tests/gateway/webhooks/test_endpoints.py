"""/v1/webhook_endpoints through the official SDK, against the whole application on a real socket."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from pydantic import SecretStr

from gateway.app import create_app
from gateway.settings import Local, Security, Settings
from gateway.webhooks.event import EVENT_TYPES, event_body
from gateway.webhooks.signing import signed_headers
from tests.gateway.live import migrated
from tests.gateway.webhooks.receiver import Receiver, receiving, status

ADMIN = "sk-admin-test-key-0123456789"


@dataclass
class Served:
    """A running gateway and a receiver it may reach."""

    base_url: str
    receiver: Receiver

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key=ADMIN, base_url=f"{self.base_url}/v1", max_retries=0, **options)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(migrated(settings)), log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.02)
            if task.done():
                task.result()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with receiving() as receiver:
        settings = Settings(
            data_dir=tmp_path,
            admin_key=SecretStr(ADMIN),
            security=Security(allowed_private_hosts=(receiver.host,)),
            local=Local(enabled=False),
        )
        async with serving(settings) as base_url:
            yield Served(base_url, receiver)


async def test_the_whole_management_api(served: Served) -> None:
    async with served.client(_strict_response_validation=True) as client:
        created = await client.webhooks.create(
            name="shop", url=served.receiver.url(), event_types=["video.completed", "video.failed"]
        )
        assert created.id.startswith("we_")
        assert created.signing_secret.startswith("whsec_")
        assert created.signing_secret_hint == f"whsec_...{created.signing_secret[-4:]}"

        read = await client.webhooks.retrieve(created.id)
        assert "signing_secret" not in read.model_fields_set | set(read.model_extra or {})
        assert read.event_types == ["video.completed", "video.failed"]

        changed = await client.webhooks.update(created.id, name="store", event_types=["video.failed"])
        assert (changed.name, changed.url, changed.event_types) == ("store", created.url, ["video.failed"])

        tested = await client.webhooks.test(created.id, event_type="video.failed")
        assert (tested.status_code, tested.success) == (200, True)
        (hit,) = served.receiver.hits
        event: Any = client.webhooks.unwrap(hit.body.decode(), hit.headers, secret=created.signing_secret)
        assert event.type == "video.failed"

        rotated = await client.webhooks.rotate_secret(created.id, keep_old_secret_active_for_24_hours=True)
        assert rotated.signing_secret != created.signing_secret
        await client.webhooks.test(created.id, event_type="video.completed")
        hit = served.receiver.hits[1]
        for secret in (created.signing_secret, rotated.signing_secret):
            client.webhooks.unwrap(hit.body.decode(), hit.headers, secret=secret)

        assert (await client.webhooks.event_types.list()).data == list(EVENT_TYPES)
        deleted = await client.webhooks.delete(created.id)
        assert (deleted.id, deleted.deleted) == (created.id, True)
        with pytest.raises(openai.NotFoundError) as gone:
            await client.webhooks.retrieve(created.id)
        assert gone.value.code == "webhook_endpoint_not_found"


async def test_lists_are_newest_first_and_paged(served: Served) -> None:
    async with served.client() as client:
        made = [
            (
                await client.webhooks.create(
                    name=str(n), url=served.receiver.url(f"/{n}"), event_types=["video.completed"]
                )
            ).id
            for n in range(5)
        ]
        assert [each.id async for each in client.webhooks.list(limit=2)] == made[::-1]
        with pytest.raises(openai.BadRequestError) as unknown:
            await client.webhooks.list(after="we_unknown")
        assert unknown.value.param == "after"


async def test_the_same_key_creates_once_and_shows_the_same_secret(served: Served) -> None:
    async with served.client(default_headers={"Idempotency-Key": "one"}) as client:

        async def create(name: str = "shop") -> Any:
            return await client.webhooks.create(
                name=name, url=served.receiver.url(), event_types=["video.completed"]
            )

        first, second = await create(), await create()
        assert first == second
        with pytest.raises(openai.BadRequestError) as reused:
            await create("other")
        assert reused.value.code == "idempotency_key_reused"


async def test_secrets_lie_encrypted(served: Served, tmp_path: Path) -> None:
    async with served.client(default_headers={"Idempotency-Key": "one"}) as client:
        created = await client.webhooks.create(
            name="shop", url=served.receiver.url(), event_types=["video.completed"]
        )
        await client.webhooks.rotate_secret("default")
    stored = await asyncio.to_thread(lambda: b"".join(map(Path.read_bytes, tmp_path.glob("onereel.db*"))))
    assert created.id.encode() in stored
    assert created.signing_secret.removeprefix("whsec_").encode() not in stored


async def test_the_default_endpoint_is_a_secret_and_its_deliveries(served: Served) -> None:
    async with served.client() as client:
        shown = await client.webhooks.retrieve("default")
        rotated = await client.webhooks.rotate_secret("default", keep_old_secret_active_for_24_hours=True)
        assert rotated.signing_secret_hint != shown.signing_secret_hint
        listed = await client.get("/webhook_endpoints/default/deliveries", cast_to=object)
        assert isinstance(listed, dict)
        assert listed["data"] == []
        assert [each.id async for each in client.webhooks.list()] == []
        for refused in (
            client.webhooks.delete("default"),
            client.webhooks.update("default", name="x"),
            client.webhooks.test("default", event_type="video.completed"),
        ):
            with pytest.raises(openai.BadRequestError) as error:
                await refused
            assert "default" in error.value.message


async def test_a_test_reports_the_status_but_not_silence(served: Served) -> None:
    served.receiver.answer = status(503)
    async with served.client() as client:
        endpoint = await client.webhooks.create(
            name="shop", url=served.receiver.url(), event_types=["video.completed"]
        )
        assert (await client.webhooks.test(endpoint.id, event_type="video.completed")).status_code == 503
        unreachable = await client.webhooks.create(
            name="none", url="https://nowhere.invalid/hook", event_types=["video.completed"]
        )
        with pytest.raises(openai.BadRequestError) as error:
            await client.webhooks.test(unreachable.id, event_type="video.completed")
        assert error.value.code == "webhook_unreachable"


GOOD: dict[str, Any] = {"name": "shop", "url": "https://example.com/hook", "event_types": ["video.completed"]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": None}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "http://127.0.0.1:1/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "http://localhost:8080/"}, "url"),
        ({"url": "https://user:password@example.com/"}, "url"),
        ({"url": "https://example.com/" + "a" * 3000}, "url"),
        ({"url": ["https://example.com/"]}, "url"),
        ({"name": ""}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["video.paused"]}, "event_types[0]"),
        ({"event_types": "video.completed"}, "event_types"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_bad_input_names_its_field(served: Served, change: dict[str, Any], param: str) -> None:
    async with served.client() as client:
        with pytest.raises(openai.BadRequestError) as error:
            await client.post("/webhook_endpoints", cast_to=object, body={**GOOD, **change})
        assert error.value.param == param
        assert [each.id async for each in client.webhooks.list()] == []


async def test_other_projects_and_lesser_keys_see_nothing(served: Served) -> None:
    async with served.client() as client:
        endpoint = await client.webhooks.create(**GOOD)
        project: Any = await client.post("/organization/projects", cast_to=object, body={"name": "other"})
        scopes = ["webhooks"], ["videos.read", "videos.write"]
        foreign, lesser = [
            await _key(client, project["id"] if index == 0 else "proj_default", each)
            for index, each in enumerate(scopes)
        ]
        strange = client.with_options(api_key=foreign)
        for call in (
            strange.webhooks.retrieve(endpoint.id),
            strange.webhooks.update(endpoint.id, name="mine"),
            strange.webhooks.delete(endpoint.id),
            strange.webhooks.rotate_secret(endpoint.id),
            strange.webhooks.test(endpoint.id, event_type="video.completed"),
            strange.get(f"/webhook_endpoints/{endpoint.id}/deliveries", cast_to=object),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        assert [each.id async for each in strange.webhooks.list()] == []
        with pytest.raises(openai.PermissionDeniedError):
            await client.with_options(api_key=lesser).webhooks.list()


async def test_the_snippets_of_the_documentation_run(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    register, receive = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    register = register.replace("http://127.0.0.1:8080", served.base_url)
    names: dict[str, Any] = {"KEY": ADMIN}
    await asyncio.to_thread(exec, register, names)
    names["SECRET"] = capsys.readouterr().out.strip()
    exec(receive, names)

    body = event_body("evt_1", "video.completed", {"id": "video_1"}, int(time.time()))
    headers = signed_headers([names["SECRET"]], "evt_1", int(time.time()), body.encode())
    for _ in range(2):
        assert names["receive"](body.encode(), headers) == 200
    assert capsys.readouterr().out == "ready: video_1\n"
    assert names["receive"](body.encode() + b" ", headers) == 400
    assert names["receive"](body.encode(), {}) == 400


async def test_odd_ids_are_not_found(served: Served) -> None:
    async with served.client() as client:
        for odd in ("we_" + "0" * 32, "x" * 3000, "%00", "..%2Fx", "%F0%9F%8E%AC"):
            with pytest.raises(openai.APIStatusError) as error:
                await client.get(f"/webhook_endpoints/{odd}", cast_to=object)
            assert 400 <= error.value.status_code < 500, odd


async def _key(client: openai.AsyncOpenAI, project: str, scopes: list[str]) -> str:
    answer: Any = await client.post(
        f"/organization/projects/{project}/api_keys", cast_to=object, body={"name": "k", "scopes": scopes}
    )
    return str(json.loads(json.dumps(answer))["value"])
