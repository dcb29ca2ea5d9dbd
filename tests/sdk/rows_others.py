"""Rows of files.*, models.* and webhooks.*."""

import base64
from typing import Any

import openai

from tests.sdk.rows import Scenario, check, equal, refused, row


@row("files.create")
def files_create(s: Scenario) -> None:
    file = s.file
    equal((file.bytes, file.filename), (s.png.stat().st_size, s.png.name), "bytes and name")
    equal((file.object, file.purpose, file.status), ("file", "vision", "processed"), "the file")
    kept = s.client.files.create(
        file=("notes.txt", b"hello"),
        purpose="user_data",
        extra_body={"expires_after": {"anchor": "created_at", "seconds": 3600}},
    )
    equal(kept.expires_at, kept.created_at + 3600, "expires_at")


@row("files.list")
def files_list(s: Scenario) -> None:
    for number in range(4):
        s.client.files.create(file=(f"{number}.txt", b"x"), purpose="user_data")
    found = [file.id for file in s.client.files.list(limit=2)]
    check(s.file.id in found and len(found) >= 5, f"listed {found}")
    equal(len(set(found)), len(found), "no file twice")
    equal([file.id for file in s.client.files.list(purpose="vision")], [s.file.id], "by purpose")


@row("files.retrieve")
def files_retrieve(s: Scenario) -> None:
    equal(s.client.files.retrieve(s.file.id), s.file, "file")


@row("files.wait_for_processing")
def files_wait(s: Scenario) -> None:
    equal(s.client.files.wait_for_processing(s.file.id), s.file, "file")


@row("files.content")
def files_content(s: Scenario) -> None:
    equal(s.client.files.content(s.file.id).read(), s.png.read_bytes(), "content")


@row("files.delete")
def files_delete(s: Scenario) -> None:
    file = s.client.files.create(file=("gone.txt", b"gone"), purpose="user_data")
    answer = s.client.files.delete(file.id)
    equal((answer.id, answer.object, answer.deleted), (file.id, "file", True), "answer")
    refused(openai.NotFoundError, "file_not_found", lambda: s.client.files.retrieve(file.id))


@row("models.list")
def models_list(s: Scenario) -> None:
    found = [model.id for model in s.client.models.list()]
    equal(sorted(found), sorted(s.orders["models"]), "models")


@row("models.retrieve")
def models_retrieve(s: Scenario) -> None:
    for name in s.orders["models"]:
        model = s.client.models.retrieve(name)
        equal((model.id, model.object), (name, "model"), "model")
        check("generate" in model.model_extra["capabilities"]["operations"], "no capabilities")


@row("webhooks.create")
def webhooks_create(s: Scenario) -> None:
    check(s.endpoint.signing_secret.startswith("whsec_"), "no signing secret")
    equal((s.endpoint.url, s.endpoint.event_types), (s.receiver.url, ["video.completed"]), "the endpoint")


def known(endpoint: Any) -> tuple[Any, ...]:
    return endpoint.id, endpoint.object, endpoint.name, endpoint.url, endpoint.event_types


@row("webhooks.retrieve")
def webhooks_retrieve(s: Scenario) -> None:
    found = s.client.webhooks.retrieve(s.endpoint.id)
    equal(known(found), known(s.endpoint), "endpoint")
    equal(found.signing_secret_hint[-4:], s.endpoint.signing_secret[-4:], "hint")


@row("webhooks.update")
def webhooks_update(s: Scenario) -> None:
    types = ["video.completed", "video.failed"]
    found = s.client.webhooks.update(s.endpoint.id, name="renamed", event_types=types)
    equal((found.name, found.event_types, found.url), ("renamed", types, s.receiver.url), "endpoint")


@row("webhooks.list")
def webhooks_list(s: Scenario) -> None:
    others = [
        s.client.webhooks.create(name=f"{n}", url=s.receiver.url + f"/{n}", event_types=["video.failed"])
        for n in range(3)
    ]
    found = [each.id for each in s.client.webhooks.list(limit=2)]
    equal(sorted(found), sorted([s.endpoint.id, *(each.id for each in others)]), "endpoints")
    for each in others:
        s.client.webhooks.delete(each.id)


@row("webhooks.rotate_secret")
def webhooks_rotate(s: Scenario) -> None:
    found = s.client.webhooks.rotate_secret(s.endpoint.id, keep_old_secret_active_for_24_hours=True)
    check(found.signing_secret != s.endpoint.signing_secret, "the secret is the old one")
    headers, body = sent_test(s)
    for secret in (found.signing_secret, s.endpoint.signing_secret):
        s.client.webhooks.verify_signature(body, headers, secret=secret)


def sent_test(s: Scenario) -> tuple[dict[str, str], bytes]:
    result = s.client.webhooks.test(s.endpoint.id, event_type="video.completed")
    equal(
        (result.status_code, result.success, result.webhook_endpoint_id), (200, True, s.endpoint.id), "test"
    )
    return s.receiver.wait(lambda event: event["type"] == "video.completed")


@row("webhooks.test")
def webhooks_test(s: Scenario) -> None:
    headers, body = sent_test(s)
    event = s.client.webhooks.unwrap(body, headers, secret=s.endpoint.signing_secret)
    equal(event.type, "video.completed", "type")


@row("webhooks.event_types.list")
def webhooks_event_types(s: Scenario) -> None:
    equal(
        sorted(s.client.webhooks.event_types.list().data),
        ["budget.threshold_reached", "video.completed", "video.failed"],
        "types",
    )


@row("webhooks.delete")
def webhooks_delete(s: Scenario) -> None:
    answer = s.client.webhooks.delete(s.endpoint.id)
    equal((answer.id, answer.deleted), (s.endpoint.id, True), "answer")
    refused(openai.NotFoundError, None, lambda: s.client.webhooks.retrieve(s.endpoint.id))


def delivery(s: Scenario) -> tuple[Any, dict[str, str], bytes]:
    """A finished video and the webhook that the server sent of it to this request's own address."""
    body = {"webhook_url": s.receiver.url}
    video = s.client.videos.create(prompt=s.prompt("webhook"), model=s.model, extra_body=body)
    s.made.append(video.id)
    return (video, *s.receiver.wait(lambda event: event["data"]["id"] == video.id))


@row("webhooks.unwrap")
def webhooks_unwrap(s: Scenario) -> None:
    video, headers, body = delivery(s)
    secret = s.orders["webhook_secret"]
    event = s.client.webhooks.unwrap(body, headers, secret=secret)
    equal((event.type, event.data.id), ("video.completed", video.id), "event")
    check(event.id == headers["webhook-id"] and event.object == "event", "the event's id")
    equal(s.client.videos.retrieve(video.id).status, "completed", "status when told")


@row("webhooks.verify_signature")
def webhooks_verify(s: Scenario) -> None:
    _, headers, body = delivery(s)
    verify, secret = s.client.webhooks.verify_signature, s.orders["webhook_secret"]
    verify(body, headers, secret=secret)
    for wrong in ((body + b" ", secret), (body, "whsec_" + base64.b64encode(b"x" * 32).decode())):
        try:
            verify(wrong[0], headers, secret=wrong[1])
        except openai.InvalidWebhookSignatureError:
            continue
        raise AssertionError("a wrong signature was accepted")
