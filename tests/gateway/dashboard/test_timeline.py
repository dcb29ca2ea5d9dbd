"""A video's life as a drawing, its request as programs, and advice for every way to fail: pure functions."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from gateway.dashboard.advice import advice
from gateway.dashboard.programs import programs_of
from gateway.dashboard.timeline import rows_of, timeline
from gateway.jobs.settle import PUBLIC_CODES

VIDEO: dict[str, Any] = {"created_at": 1000, "completed_at": 1060}
POLLS = [
    {"at": 1020, "outcome": "running", "progress": 40, "http_status": None},
    {"at": 1050, "outcome": "completed", "progress": None, "http_status": None},
]
ATTEMPT: dict[str, Any] = {
    "number": 2,
    "upstream": "a<b>",
    "status": "completed",
    "created_at": 1010,
    "submitted_at": 1012,
    "finished_at": 1060,
    "polls": POLLS,
}
REFUSED = {
    **ATTEMPT,
    "number": 1,
    "status": "refused",
    "created_at": 1004,
    "submitted_at": None,
    "finished_at": 1006,
    "polls": [],
}


def spans(video: dict[str, Any], *attempts: dict[str, Any], now: float = 2000) -> list[list[tuple[Any, ...]]]:
    rows = rows_of(video, attempts, now)
    return [[(span.kind, span.begin, span.end) for span in row.spans] for row in rows]


def test_every_stretch_of_time_is_told() -> None:
    assert spans(VIDEO, REFUSED, ATTEMPT) == [
        [("queued", 1000, 1004)],
        [("sent", 1004, 1006)],
        [("sent", 1010, 1012), ("rendering", 1012, 1050), ("stored", 1050, 1060)],
    ]


def test_what_goes_on_ends_now() -> None:
    live = {"created_at": 1000, "completed_at": None}
    assert spans(live, now=1009) == [[("queued", 1000, 1009)]]
    running = {**ATTEMPT, "status": "running", "finished_at": None, "polls": POLLS[:1]}
    assert spans(live, running, now=1030)[1] == [("sent", 1010, 1012), ("rendering", 1012, 1030)]
    assert spans(live, {**running, "submitted_at": None}, now=1030)[1] == [("sent", 1010, 1030)]


@pytest.mark.parametrize("end", [1060, 1000])
def test_the_drawing_is_within_its_frame_and_escaped(end: int) -> None:
    drawing = timeline(rows_of(VIDEO, [REFUSED, ATTEMPT], 2000), 1000, end)
    svg = ET.fromstring(drawing)
    assert "a<b>" in svg.attrib["aria-label"]
    assert "style" not in drawing
    for rect in svg.iter("rect"):
        left, width = float(rect.attrib["x"]), float(rect.attrib["width"])
        assert 0 <= left <= left + width <= 1000.1
    assert len(list(svg.iter("line"))) == 2


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "source_video_id": None,
        "seconds": "4",
        "size": "1280x720",
        "models": ["acme/fast", "acme/slow"],
        "parameters": {"seed": 7},
        "provider_options": {},
        "service_tier": "default",
        "media": [],
        "webhook_url": None,
        **changes,
    }


def public(**changes: Any) -> dict[str, Any]:
    return {"model": "acme/fast", "prompt": "a cat", "operation": "generate", "metadata": {}, **changes}


def test_the_request_is_written_as_it_was() -> None:
    media = [
        {"role": "first_frame", "media_type": "image/jpeg", "stored": True, "url": None},
        {"role": "reference", "media_type": "image/png", "stored": True, "url": None},
        {"role": "last_frame", "media_type": "", "stored": False, "url": "https://example.com/a.png"},
        {"role": "character", "media_type": "video/mp4", "stored": True, "url": None},
    ]
    found = programs_of("http://127.0.0.1", public(), asked(media=media))
    assert found
    for told in (
        "'seed=7'",
        "'fallbacks[0]=acme/slow'",
        "input_reference=@first_frame.jpg",
        "reference_images[0]=@reference.png",
        "last_frame[image_url]=https://example.com/a.png",
    ):
        assert told in found.curl, told
    assert "character" not in found.curl


def test_what_follows_a_video_names_its_source() -> None:
    found = programs_of("http://127.0.0.1", public(operation="extend"), asked(source_video_id="video_1"))
    assert found
    assert "/videos/extensions" in found.curl
    assert '"video_1"' in found.node
    assert "size" not in found.python
    remix = programs_of("http://127.0.0.1", public(operation="remix"), asked(source_video_id="video_1"))
    assert remix
    assert "seconds" not in remix.curl


def test_nothing_is_written_of_what_is_gone() -> None:
    assert programs_of("http://127.0.0.1", public(prompt=None), asked()) is None
    assert programs_of("http://127.0.0.1", public(operation="edit"), asked()) is None


def test_there_is_a_next_step_for_every_code() -> None:
    texts = {advice(code) for code in {*PUBLIC_CODES.values(), "submission_unknown", "provenance_failed"}}
    assert len(texts) == len({*PUBLIC_CODES.values()}) + 2
    assert advice("new_code") == advice("provider_error")
