"""What is secret, or a client's words, is on no line of the log: a corpus of places where it could hide."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from gateway.keys.tokens import PREFIX, new_token
from gateway.logs import configure_logging
from gateway.redaction import HIDDEN, redacted, scrubbed
from gateway.settings import Tracing
from gateway.tracing import open_tracing, span
from gateway.webhooks.signing import new_secret
from tests.gateway.observability.collector import collector

KEY = (
    PREFIX + "s3cr-3t_" * 5 + "xyz"
)  # as long as every token; the ids of the tests must be the same everywhere
WHSEC = "whsec_" + "c2VjcmV0c2VjcmV0" * 2
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
HUNTER = "hunter2hunter2"


class Body(BaseModel):
    prompt: str
    seconds: int = 4


class Account(BaseModel):
    api_key: SecretStr


TEXTS = [
    f"refused: Authorization: Bearer {HUNTER}",
    f"refused: authorization=Key {HUNTER}:abc",
    f"{{'Authorization': 'Basic {HUNTER}=='}}",
    f'{{"headers": {{"X-Api-Key": "{HUNTER}", "accept": "*/*"}}}}',
    f"POST https://user:{HUNTER}@acme.test/v1 failed",
    f"redis://:{HUNTER}@127.0.0.1:6379/0 is away",
    f"postgresql+asyncpg://onereel:{HUNTER}@db/onereel",
    f"GET https://acme.test/video.mp4?X-Amz-Signature={HUNTER}&X-Amz-Date=1 403",
    f"GET https://acme.test/v1?key={HUNTER}",
    f"https://blob.test/c/v.mp4?sv=1&sig={HUNTER}%3D&se=2",
    f"api_key={HUNTER} was refused",
    f"secret: {HUNTER}",
    f"Incorrect API key provided: sk-proj-{HUNTER}AAAAAAAAAAAA.",
    f"key {KEY} is revoked",
    f"signed with {WHSEC}",
    f"token {JWT}",
    f"-----BEGIN PRIVATE KEY-----\n{HUNTER}\n-----END PRIVATE KEY-----",
    "AKIAIOSFODNN7EXAMPLE is not known",
    f"ValidationError: input_value={{'prompt': 'a {HUNTER} \\' at dusk', 'n': 3}}",
    f"extra_forbidden, input_value='a {HUNTER} at du...ething', input_type=str]",
    f"missing, input_value={{'media': ['{HUNTER}\n...], input_type=dict]",
    f'sent {{"negative_prompt": "no \\"{HUNTER}\\"", "seed": 7}}',
    f"password={HUNTER};host=db",
]
PLAIN = [
    "video_0198c0ffee0070008000000000000000 was completed at https://acme.test/v1/videos/1?limit=20&after=x",
    "key_0198c0ffee0070008000000000000000 made project proj_1",
    "POST /v1/videos 200 in 3.2 ms, onereel_http_requests_total",
    "the upstream's video is empty; kind=provider_error ambiguous=True",
    "time 2026-11-26T20:15:00Z, model google/veo-3.1, size 1280x720, sha256 9f86d081884c7d659a2feaa0c55ad015",
]
SECRETS = [HUNTER, KEY, WHSEC, JWT, "AKIAIOSFODNN7EXAMPLE"]


def clean(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What has been written to stderr, in each form."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging(request.param, "INFO")
    yield lambda: capsys.readouterr().err
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_loses_its_secrets(text: str) -> None:
    assert clean(scrubbed(text)), scrubbed(text)
    assert HIDDEN in scrubbed(text)
    assert scrubbed(scrubbed(text)) == scrubbed(text)


def test_what_is_really_made_is_known() -> None:
    assert len(KEY) == len(new_token())
    for made in (new_token(), new_secret()):
        assert scrubbed(f"with {made}.") == f"with {HIDDEN}."


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_any_stays(text: str) -> None:
    assert scrubbed(text) == text


@pytest.mark.parametrize(
    "value",
    [
        {"headers": {"Authorization": HUNTER}},
        [{"a": [{"upstream": {"api_key": HUNTER}}]}],
        {"body": {"prompt": HUNTER, "negative-prompt": HUNTER}},
        ({"set-cookie": HUNTER}, {"Session-Token": HUNTER}),
        Body(prompt=HUNTER),
        Account(api_key=SecretStr(HUNTER)),
        HUNTER.encode(),
        ValueError(f"token={HUNTER}"),
    ],
)
def test_nested_values_lose_them(value: Any, lines: Callable[[], str]) -> None:
    structlog.get_logger("test").warning("odd", value=value)
    logging.getLogger("some.library").warning("odd %s", value if not isinstance(value, bytes) else "")
    written = lines()
    assert written.count("odd") == 2
    assert clean(written), written


def test_names_that_only_tell_which_stay() -> None:
    kept = {
        "key_id": "key_1",
        "credential_version": 2,
        "api_key_env": "ACME_KEY",
        "expires_at": 3,
        "none": None,
    }
    assert redacted(kept) == kept
    assert redacted({"token": None, "api_key": ""}) == {"token": None, "api_key": HIDDEN}


@pytest.mark.parametrize("text", TEXTS)
def test_exceptions_lose_them_with_their_causes(text: str, lines: Callable[[], str]) -> None:
    def refused() -> None:
        raise ValueError(text)

    try:
        try:
            refused()
        except ValueError as cause:
            raise RuntimeError(f"again: {text}") from cause
    except RuntimeError:
        structlog.get_logger("test").exception("failed")
        logging.getLogger("some.library").exception("failed: %s", text)
    written = lines()
    assert "RuntimeError" in written
    assert clean(written), written


def test_lines_name_their_trace(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    configure_logging("json", "INFO")
    try:
        with collector() as it:
            tracing = open_tracing(Tracing(endpoint=it.endpoint), lambda *_: None)
            with tracing.request(None) as request, span("accept") as inner:
                structlog.get_logger("test").info("inside")
                logging.getLogger("some.library").warning("inside")
            structlog.get_logger("test").info("outside")
    finally:
        root.handlers[:] = before
        structlog.reset_defaults()
    first, second, third = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    for line in (first, second):
        assert (line["trace_id"], line["span_id"]) == (request.trace_id, inner.span_id)
    assert "trace_id" not in third


@pytest.mark.parametrize("piece", ["a.b-c", "token", "prompt='", "://a:", "?key", "eyJ.", "- "])
def test_a_long_text_takes_no_time(piece: str) -> None:
    began = time.perf_counter()
    assert len(scrubbed(piece * 100_000)) < 60_000
    assert time.perf_counter() - began < 1
