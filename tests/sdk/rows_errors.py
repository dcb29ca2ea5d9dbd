"""Rows of errors and retries."""

import time

import openai

from tests.sdk.rows import Scenario, check, equal, refused, row, sha256


@row("errors: 400 BadRequestError", "videos.create")
def errors_400(s: Scenario) -> None:
    create = s.client.videos.create
    refused(openai.BadRequestError, None, lambda: create(prompt="x", seconds="5"), "seconds")
    refused(openai.BadRequestError, None, lambda: create(prompt="x", size="7x7"), "size")
    refused(openai.BadRequestError, None, lambda: create(prompt="x" * 32_001), "prompt")
    refused(
        openai.BadRequestError, None, lambda: create(prompt="x", input_reference=b"GIF8"), "input_reference"
    )
    error = refused(
        openai.BadRequestError,
        "unknown_parameter",
        lambda: create(prompt="x", extra_body={"sedd": 1}),
        "sedd",
    )
    equal(error.response.headers["x-should-retry"], "false", "x-should-retry")


@row("errors: 401 AuthenticationError", "models.list")
def errors_401(s: Scenario) -> None:
    wrong = s.open(s.orders["api"], "onereel_wrong")
    refused(openai.AuthenticationError, "invalid_api_key", wrong.models.list)


@row("errors: 403 PermissionDeniedError", "videos.create")
def errors_403(s: Scenario) -> None:
    narrow = s.open(s.orders["api"], s.orders["read_key"])
    refused(openai.PermissionDeniedError, None, lambda: narrow.videos.create(prompt="x"))


@row("errors: 404 NotFoundError", "videos.retrieve")
def errors_404(s: Scenario) -> None:
    refused(openai.NotFoundError, "video_not_found", lambda: s.client.videos.retrieve("video_" + "0" * 32))
    foreign = s.orders["foreign_video"]
    refused(openai.NotFoundError, "video_not_found", lambda: s.client.videos.retrieve(foreign))
    refused(
        openai.NotFoundError, "model_not_found", lambda: s.client.videos.create(prompt="x", model="no/such")
    )
    refused(openai.NotFoundError, "model_not_found", lambda: s.client.models.retrieve("no-such"))


@row("errors: 429 RateLimitError", "videos.create")
def errors_429(s: Scenario) -> None:
    limited = s.open(s.orders["api"], s.orders["limited_key"], max_retries=0)
    s.made.append(limited.videos.create(prompt=s.prompt("within the limit")).id)
    error = refused(
        openai.RateLimitError, "rate_limit_exceeded", lambda: limited.videos.create(prompt="too many")
    )
    check(1 <= int(error.response.headers["retry-after"]) <= 60, "Retry-After is not within 1..60")


@row("retry: lost answer, one job", "videos.create")
def retry_lost_answer(s: Scenario) -> None:
    prompt = s.prompt("lost answer")
    video = s.open(s.orders["cut"]).videos.create(
        prompt=prompt, model=s.model, seconds="4", size="1280x720", input_reference=s.png.read_bytes()
    )
    s.finish(video)
    s.expect("/v1/videos", prompt, files={"input_reference": sha256(s.png.read_bytes())})


@row("retry: Retry-After honoured", "videos.create")
def retry_after(s: Scenario) -> None:
    prompt, started = s.prompt("busy"), time.monotonic()
    video = s.open(s.orders["busy"]).videos.create(prompt=prompt, model=s.model, size="1280x720")
    check(time.monotonic() - started >= 1.9, "came back before Retry-After")
    s.finish(video)
    s.expect("/v1/videos", prompt)


@row("retry: x-should-retry honoured", "videos.create")
def retry_refused(s: Scenario) -> None:
    client = s.open(s.orders["final"])
    try:
        client.videos.create(prompt="x")
    except openai.RateLimitError as error:
        equal(error.code, "insufficient_quota", "code")
        return
    raise AssertionError("retried in spite of x-should-retry: false")


@row("retry: Idempotency-Key", "videos.create")
def idempotency_key(s: Scenario) -> None:
    prompt = s.prompt("idempotency key")
    headers = {"Idempotency-Key": prompt.replace(" ", "-")}
    first, second = (
        s.client.videos.create(prompt=prompt, model=s.model, size="1280x720", extra_headers=headers)
        for _ in range(2)
    )
    equal(first.id, second.id, "the video")
    s.finish(first)
    s.expect("/v1/videos", prompt)
    refused(
        openai.BadRequestError,
        "idempotency_key_reused",
        lambda: s.client.videos.create(prompt=prompt + " other", extra_headers=headers),
    )
