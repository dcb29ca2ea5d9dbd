"""The request that made a video, as programs that make it again."""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.dashboard.snippets import Operation, Snippets, snippets

Json = Mapping[str, Any]
_FIELDS: Final = {"first_frame": "input_reference", "last_frame": "last_frame"}
_UNSAID: Final = {"remix": ("seconds", "size"), "edit": ("seconds", "size"), "extend": ("size",)}
"""What these take from their source."""
_SUFFIXES: Final = {"image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4", "video/webm": "webm"}


def request_fields(video: Json, asked: Json) -> dict[str, Any]:
    """The body of POST /v1/videos that asks for the same, without its files."""
    return {
        "model": video["model"],
        "prompt": video["prompt"],
        "seconds": asked["seconds"],
        "size": asked["size"],
        **asked["parameters"],
        "provider_options": asked["provider_options"],
        "service_tier": None if asked["service_tier"] == "default" else asked["service_tier"],
        "metadata": video["metadata"],
    }


def programs_of(base_url: str, video: Json, asked: Json) -> Snippets | None:
    """Write them; None where the prompt is gone, or what the video was made from was a file."""
    operation, source = video["operation"], asked["source_video_id"]
    if not video["prompt"] or (operation != "generate" and source is None):
        return None
    fields, files = request_fields(video, asked), dict[str, str]()
    fields |= {"user": video.get("user"), "webhook_url": asked["webhook_url"]}
    if operation == "generate":
        fields["fallbacks"] = asked["models"][1:]
    for name in _UNSAID.get(operation, ()):
        del fields[name]
    references = 0
    for each in asked["media"] if operation == "generate" else ():
        if each["role"] == "reference":
            name, references = f"reference_images[{references}]", references + 1
        elif each["role"] in _FIELDS:
            name = _FIELDS[each["role"]]
        else:
            continue
        if each["url"] and not each["stored"] and name in _FIELDS.values():
            fields[name] = {"image_url": each["url"]}
        else:
            files[name] = f"{each['role']}.{_SUFFIXES.get(each['media_type'], 'png')}"
    return snippets(base_url, fields, operation=cast("Operation", operation), source=source, files=files)
