"""What a model's upstream takes of an input file: how many bytes, how many seconds."""

from collections.abc import Sequence
from decimal import Decimal

from gateway.errors import BadRequest
from gateway.videos.capabilities import most_bytes, small_enough
from gateway.videos.inputs import Accepted
from gateway.videos.routing import Model, Route
from providers.spec import ModelSpec

_MEGABYTE = 1024 * 1024


def taking(
    model: Model, routes: tuple[Route, ...], media: Sequence[Accepted], source_seconds: Decimal
) -> tuple[Route, ...]:
    """Keep the routes that take files as large and a source as long as these. BadRequest names file and limit.

    A file that lies at a URL is measured once it is copied: it is no obstacle here.
    """
    for each in media:
        able = tuple(route for route in routes if small_enough(route.spec, each.media_type, each.size))
        if not able:
            limit = max(most_bytes(route.spec, each.media_type) or 0 for route in routes)
            raise BadRequest(
                f"'{each.param}' has {each.size / _MEGABYTE:.1f} MB, '{model.id}' takes at most "
                f"{limit / _MEGABYTE:.1f} MB: send a smaller file.",
                param=each.param,
                code="input_too_large",
            )
        routes = able
    able = tuple(route for route in routes if _short_enough(route.spec, source_seconds))
    if not able:
        longest = max(route.spec.max_source_seconds or Decimal(0) for route in routes)
        raise BadRequest(
            f"The video is {source_seconds:f} s long, '{model.id}' takes at most {longest:f} s: "
            "name a shorter one, or another model.",
            param="video",
            code="video_too_long",
        )
    return able


def _short_enough(spec: ModelSpec, seconds: Decimal) -> bool:
    return spec.max_source_seconds is None or seconds <= spec.max_source_seconds
