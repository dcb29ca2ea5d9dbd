"""Input files for upstreams that take one list of content, where every file has a role: frames or references."""

from collections.abc import Mapping
from typing import Any, Final

from providers import media_forms, request_fields
from providers.contract import MediaInput, MediaRole, VideoRequest

_ORDER: Final = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME, MediaRole.REFERENCE)


def frames_or_references(request: VideoRequest, most: Mapping[str, int]) -> list[MediaInput]:
    """The files: a first and a last frame, or references, so `most` of each kind ({"image": 9}).

    INVALID_REQUEST for both together, too many, or a file of another role or kind.
    """
    files = request_fields.media(
        request, {**dict.fromkeys(_ORDER, 1), MediaRole.REFERENCE: sum(most.values())}
    )
    references = files[MediaRole.REFERENCE]
    if references and len(request.media) > len(references):
        request_fields.refuse("reference_images", f"{request.model} takes them only without other frames")
    for kind in {kind_of(item) for item in references}:
        if sum(kind_of(item) == kind for item in references) > most.get(kind, 0):
            request_fields.refuse("reference", f"{request.model} takes at most {most.get(kind, 0)} of {kind}")
    return [item for role in _ORDER for item in files[role]]


def kind_of(item: MediaInput) -> str:
    """The kind of a file: image, video, audio."""
    return item.media_type.partition("/")[0]


def role_of(item: MediaInput) -> str:
    """The role of a file: first_frame, last_frame, or reference_image, reference_video, reference_audio."""
    return f"reference_{kind_of(item)}" if item.role is MediaRole.REFERENCE else item.role.value


async def content(
    request: VideoRequest, most: Mapping[str, int], max_bytes: int, together: int
) -> list[dict[str, Any]]:
    """The prompt and the files as `[{"type": "text", ...}, {"type": "image_url", ..., "role": ...}]`.

    `max_bytes` of a file and `together` bound what is not sent by address. Raises ProviderError INVALID_REQUEST or
    INPUT_MEDIA.
    """
    files = frames_or_references(request, most)
    urls = await media_forms.addresses_or_data(files, max_bytes, together)
    items: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
    for item, url in zip(files, urls, strict=True):
        field = f"{kind_of(item)}_url"
        items.append({"type": field, field: {"url": url}, "role": role_of(item)})
    return items
