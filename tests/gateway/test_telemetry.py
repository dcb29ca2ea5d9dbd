"""Logs say what happened and never what is secret; metrics count what they are told."""

import json
import logging

import pytest
import structlog

from gateway.logs import configure_logging, video_context
from gateway.telemetry import Metrics


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]):
    """What has been written to stderr, line by line as JSON."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging("json", "INFO")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_are_json_with_the_video_they_belong_to(logged):
    log = structlog.get_logger("test")
    with video_context("video_1"):
        log.info("submitted", upstream="acme")
    log.debug("hidden")
    (line,) = logged()
    assert (line["event"], line["video_id"], line["level"]) == ("submitted", "video_1", "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["api_key", "Authorization", "upstream_secret", "prompt", "token"])
def test_secrets_and_prompts_are_never_written(logged, name):
    structlog.get_logger("test").warning("odd", **{name: "hunter2"})
    assert logged()[0][name] == "[hidden]"


def test_tracebacks_have_no_local_variables(logged):
    def fails(prompt: str) -> None:
        raise ValueError(f"{len(prompt)} characters")

    try:
        fails("hunter2")
    except ValueError as error:
        structlog.get_logger("test").error("failed", exc_info=error)
    (line,) = logged()
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert "hunter2" not in json.dumps(line)


def test_the_standard_library_goes_the_same_way(logged):
    logging.getLogger("some.library").warning("careful %s", "there")
    logging.getLogger("httpx").info("one line per request")
    (line,) = logged()
    assert (line["event"], line["level"]) == ("careful there", "warning")


def test_job_states_that_vanish_drop_to_zero():
    metrics = Metrics()
    metrics.set_jobs({"queued": 3, "running": 1}, 2.5)
    metrics.set_jobs({"running": 2}, 0)
    text = metrics.exposition()[0].decode()
    assert 'onereel_jobs{state="queued"} 0.0' in text
    assert 'onereel_jobs{state="running"} 2.0' in text
    assert "onereel_queue_age_seconds 0.0" in text


def test_two_processes_parts_do_not_share_metrics():
    one, two = Metrics(), Metrics()
    one.upstream_call("acme", "poll", "ok", 0.1)
    one.unknown_upstream_state("acme")
    assert "acme" in one.exposition()[0].decode()
    assert "acme" not in two.exposition()[0].decode()
