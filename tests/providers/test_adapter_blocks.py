"""The blocks that adapters are made of."""

import base64
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers import answers, content_roles, media_forms, request_fields, results, sizes
from providers.answers import Response
from providers.contract import Completed, ErrorKind, Failed, MediaRole, Operation, ProviderError
from providers.error_table import ErrorTable
from providers.state_table import StateTable
from tests.providers.wire import media, video_request

TABLE = ErrorTable(
    code_at=("base_resp.status_code", "detail.0.type"),
    message_at=("base_resp.status_msg", "detail.0.msg"),
    fine=frozenset({"0"}),
    codes={"1002": ErrorKind.RATE_LIMITED, "10(26|27)": ErrorKind.MODERATION_BLOCKED},
    words={"not enough (money|credit)": ErrorKind.PROVIDER_FUNDS},
)
STATES = StateTable(
    queued=("Preparing", "Queueing"),
    running=("Processing",),
    completed=("Success",),
    failed={"Fail": ErrorKind.PROVIDER_ERROR, "Cancelled": ErrorKind.CANCELLED},
)


def response(status: int, body: Any, **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {k.replace("_", "-"): v for k, v in headers.items()}, data, "s3cret-credential")


def business(code: Any, message: str = "why") -> dict[str, Any]:
    return {"base_resp": {"status_code": code, "status_msg": message}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "ambiguous"),
    [
        (200, business(1002), ErrorKind.RATE_LIMITED, False),
        (500, business(1002), ErrorKind.RATE_LIMITED, False),
        (200, business("1027"), ErrorKind.MODERATION_BLOCKED, False),
        (422, {"detail": [{"type": "1026", "msg": "no"}]}, ErrorKind.MODERATION_BLOCKED, False),
        (200, business(9, "you have NOT enough credit"), ErrorKind.PROVIDER_FUNDS, False),
        (200, business(10260), ErrorKind.PROVIDER_ERROR, True),
        (400, business(9), ErrorKind.INVALID_REQUEST, False),
        (401, {"anything": 1}, ErrorKind.PROVIDER_AUTH, False),
        (404, [], ErrorKind.JOB_LOST, False),
        (500, business(9), ErrorKind.PROVIDER_UNAVAILABLE, True),
        (502, b"<html>Bad Gateway</html>", ErrorKind.PROVIDER_UNAVAILABLE, True),
    ],
)
def test_a_code_decides_before_the_status(status: int, body: Any, kind: ErrorKind, ambiguous: bool) -> None:
    error = TABLE(response(status, body, retry_after="7"))
    assert error is not None
    assert (error.kind, error.ambiguous, error.http_status, error.retry_after) == (kind, ambiguous, status, 7)
    assert error.message


@pytest.mark.parametrize("body", [business(0), business("0"), {"id": "x"}, [], b"not JSON", {"detail": "x"}])
def test_a_good_answer_is_no_error(body: Any) -> None:
    assert TABLE(response(200, body)) is None


def test_an_error_repeats_no_credential() -> None:
    for status in (200, 400):
        error = TABLE(response(status, business(1002, "your key s3cret-credential\nis bad")))
        assert error is not None
        assert error.message == "your key [credential] is bad"
        assert error.upstream_code == "1002"


def test_the_verdict_on_a_job() -> None:
    assert TABLE.verdict(1026, "no").kind is ErrorKind.MODERATION_BLOCKED
    assert TABLE.verdict(None, "not enough money").kind is ErrorKind.PROVIDER_FUNDS
    assert TABLE.verdict(None, None, ErrorKind.CANCELLED).kind is ErrorKind.CANCELLED
    unsaid = TABLE.verdict("X9", None)
    assert (unsaid.kind, unsaid.upstream_code) == (ErrorKind.PROVIDER_ERROR, "X9")
    assert "X9" in unsaid.message


def test_states_are_read_without_regard_to_case() -> None:
    seen = [STATES.read(word) for word in ("preparing", "PROCESSING", "success", "Fail", "cancelled")]
    assert seen == ["queued", "running", "completed", ErrorKind.PROVIDER_ERROR, ErrorKind.CANCELLED]


@pytest.mark.parametrize("word", ["hibernating", "", None, 7, {"a": 1}])
def test_an_unknown_state_raises(word: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        STATES.read(word)
    assert caught.value.kind is ErrorKind.UNKNOWN_STATE


@pytest.mark.parametrize(
    ("size", "ratio", "tier"),
    [
        ("1280x720", "16:9", "720p"),
        ("720x1280", "9:16", "720p"),
        ("854x480", "16:9", "480p"),
        ("1920x1080", "16:9", "1080p"),
        ("3840x2160", "16:9", "4k"),
        ("1024x1024", "1:1", None),
        ("1792x1024", "7:4", None),
        ("1366x768", "16:9", "768p"),
        ("1470x630", "21:9", None),
        ("1000x100", None, None),
    ],
)
def test_sizes(size: str, ratio: str | None, tier: str | None) -> None:
    assert (sizes.aspect_ratio(size), sizes.tier(size)) == (ratio, tier)
    assert sizes.joined(size, "*") == size.replace("x", "*")


def test_a_size_the_upstream_has_no_word_for_is_named() -> None:
    request = video_request(size="1600x1000")
    for write in (
        lambda: request_fields.aspect_ratio(request, ("16:9", "1:1")),
        lambda: request_fields.tier(request, {"720p": "std"}),
    ):
        with pytest.raises(ProviderError, match=r"size: 1600x1000") as caught:
            write()
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    small = video_request(size="1280x720")
    assert request_fields.tier(small, {"720p": "std"}) == "std"
    assert request_fields.tier(small, ("720p",)) == "720p"
    assert request_fields.aspect_ratio(small, ["1:1", "16:9"]) == "16:9"


def test_parameters_are_written_or_refused_by_name() -> None:
    names: dict[str, request_fields.Write] = {
        "seed": "rng",
        "audio": lambda on: {"sound": "on" if on else "off"},
    }
    given = {"seed": 0, "audio": False, "aspect_ratio": "16:9", "resolution": "720p", "n": 2, "fps": None}
    request = video_request(parameters=given)
    assert request_fields.parameters(request, names) == {"rng": 0, "sound": "off"}
    with pytest.raises(
        ProviderError, match=r"fps: fake-1 takes no such parameter; it takes audio, seed"
    ) as caught:
        request_fields.parameters(replace(request, parameters={"fps": 24}), names)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    with pytest.raises(ProviderError, match="it takes none"):
        request_fields.parameters(replace(request, parameters={"service_tier": "flex"}), {})


def test_files_are_sorted_by_role_and_counted() -> None:
    first = media(MediaRole.FIRST_FRAME, b"1", "image/png")
    references = [media(MediaRole.REFERENCE, b"2", "image/png") for _ in range(2)]
    request = video_request(media=(references[0], first, references[1]))
    sorted_ = request_fields.media(
        request, {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 2}
    )
    assert sorted_ == {
        MediaRole.FIRST_FRAME: [first],
        MediaRole.LAST_FRAME: [],
        MediaRole.REFERENCE: references,
    }
    with pytest.raises(ProviderError, match="reference: fake-1 takes at most 1"):
        request_fields.media(request, {MediaRole.FIRST_FRAME: 1, MediaRole.REFERENCE: 1})
    with pytest.raises(ProviderError, match="first_frame: fake-1 takes no such file; it takes reference"):
        request_fields.media(request, {MediaRole.REFERENCE: 2})


def test_lengths_and_operations() -> None:
    assert request_fields.whole_seconds(video_request(seconds="8")) == 8
    assert request_fields.seconds(video_request(seconds="2.5")) == 2.5
    assert str(request_fields.seconds(video_request(seconds="8.0"))) == "8"
    with pytest.raises(ProviderError, match=r"seconds: .* not 2.5"):
        request_fields.whole_seconds(video_request(seconds="2.5"))
    with pytest.raises(ProviderError, match="operation: fake-1 cannot edit; it can generate"):
        request_fields.operation(video_request(operation=Operation.EDIT), Operation.GENERATE)


def test_provider_options_go_over_the_body() -> None:
    body = {"a": {"b": 1, "c": [1]}, "d": 1}
    assert request_fields.merged(body, {"a": {"c": [2], "e": 3}, "d": {"x": 1}}) == {
        "a": {"b": 1, "c": [2], "e": 3},
        "d": {"x": 1},
    }
    assert body == {"a": {"b": 1, "c": [1]}, "d": 1}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 196_607, 196_608, 196_609, 500_000])
async def test_files_as_base64(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    item = media(MediaRole.FIRST_FRAME, data, "image/png")
    assert base64.b64decode(await media_forms.base64_text(item, size)) == data
    assert (await media_forms.data_uri(item, size)).startswith("data:image/png;base64,")


async def test_a_file_that_is_too_large_or_not_what_it_said() -> None:
    item = media(MediaRole.LAST_FRAME, bytes(3 * 1024 * 1024), "image/png")
    with pytest.raises(ProviderError, match=r"last_frame file has 3145728 bytes; .* at most 2 MiB") as caught:
        await media_forms.base64_text(item, 2 * 1024 * 1024)
    assert caught.value.kind is ErrorKind.INPUT_MEDIA
    for announced in (10, 4 * 1024 * 1024):
        with pytest.raises(ProviderError, match="that were announced"):
            await media_forms.base64_text(replace(item, size=announced), 2**30)


async def test_addresses() -> None:
    item = media(MediaRole.SOURCE, b"x")
    with pytest.raises(ProviderError, match="ONEREEL_PUBLIC_URL") as caught:
        media_forms.address(item)
    assert caught.value.kind is ErrorKind.INPUT_MEDIA
    assert media_forms.address(replace(item, url="https://o.example/1")) == "https://o.example/1"
    assert (
        await media_forms.address_or_data(replace(item, url="https://o.example/1"), 1)
        == "https://o.example/1"
    )
    assert (
        await media_forms.address_or_data(replace(item, url="http://o.example/1"), 1)
        == "data:video/mp4;base64,eA=="
    )


async def test_files_in_sum() -> None:
    item = media(MediaRole.REFERENCE, b"xyz", "image/png")
    public = replace(item, url="https://o.example/1")
    embedded = "data:image/png;base64,eHl6"
    assert await media_forms.addresses_or_data([item, public, item], 3, 6) == [
        embedded,
        "https://o.example/1",
        embedded,
    ]
    with pytest.raises(
        ProviderError, match=r"have 6 bytes together; .* at most 5 bytes .*PUBLIC_URL"
    ) as caught:
        await media_forms.addresses_or_data([item, item], 3, 5)
    assert caught.value.kind is ErrorKind.INPUT_MEDIA
    with pytest.raises(ProviderError, match=r"reference file has 3 bytes; .* at most 2 bytes"):
        await media_forms.addresses_or_data([item], 2, 2)


def test_content_with_roles_is_of_known_kinds() -> None:
    most = {"image": 2, "video": 1}
    image, video = (media(MediaRole.REFERENCE, b"x", kind) for kind in ("image/png", "video/mp4"))
    first, last = (media(role, b"x", "image/png") for role in (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME))
    files = content_roles.frames_or_references(video_request(media=(image, video, image)), most)
    assert [content_roles.role_of(item) for item in files] == [
        "reference_image",
        "reference_video",
        "reference_image",
    ]
    assert content_roles.frames_or_references(video_request(media=(last, first)), most) == [first, last]
    refused = {
        "only without other frames": (first, image),
        "at most 2 of image": (image, image, image),
        "at most 1 of video": (video, video),
        "at most 0 of audio": (replace(image, media_type="audio/mpeg"),),
        "first_frame: .* at most 1": (first, first),
        "source: .* no such file": (media(MediaRole.SOURCE, b"x"),),
    }
    for message, wrong in refused.items():
        with pytest.raises(ProviderError, match=message) as caught:
            content_roles.frames_or_references(video_request(media=wrong), most)
        assert caught.value.kind is ErrorKind.INVALID_REQUEST


def test_a_choice_is_written_in_the_words_of_the_upstream() -> None:
    write = request_fields.choice("service_tier", "off_peak", {"default": False, "flex": True})
    assert callable(write)
    assert write("flex") == {"off_peak": True}
    with pytest.raises(ProviderError, match="service_tier: the upstream takes default, flex"):
        write("priority")


def test_a_create_without_an_id_is_ambiguous() -> None:
    assert answers.required({"data": {"id": 7}}, "data", "id") == "7"
    bodies: list[Any] = [
        {},
        {"data": None},
        {"data": {"id": ""}},
        {"data": {"id": True}},
        {"data": {"id": ["x"]}},
        [],
    ]
    for body in bodies:
        with pytest.raises(ProviderError, match=r"no data\.id") as caught:
            answers.required(body, "data", "id")
        assert caught.value.ambiguous


def test_a_create_loses_no_job() -> None:
    with pytest.raises(ProviderError) as caught, answers.creating():
        raise ProviderError(ErrorKind.JOB_LOST, "no such model")
    assert caught.value.kind is ErrorKind.MODEL_RETIRED


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (48, "48"),
        ("0.3", "0.3"),
        (0, "0"),
        (None, None),
        ("n/a", None),
        (-1, None),
        (True, None),
        ("NaN", None),
    ],
)
def test_costs_in_the_upstreams_own_count(amount: Any, expected: str | None) -> None:
    cost = answers.cost_in("credit", amount)
    assert (cost.amount if cost else None) == (None if expected is None else Decimal(expected))
    assert cost is None or (cost.currency, cost.micros) == ("credit", None)


def test_what_is_done_without_an_address_has_failed() -> None:
    assert results.at_address("https://x.example/v") == Completed({"url": "https://x.example/v"})
    bad: list[Any] = [None, "", "file:///etc/passwd", 7, []]
    for url in bad:
        assert isinstance(results.at_address(url), Failed)
    assert results.segment("a/../b?c") == "a%2F..%2Fb%3Fc"
    assert [answers.percent_of_one(value) for value in (0, 0.255, 1, 2, None, "x")] == [
        0,
        25,
        100,
        100,
        None,
        None,
    ]
