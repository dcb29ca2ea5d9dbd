"""Fields whose names differ from model to model at one provider: the catalogue row's `wire` over the usual names."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers import request_fields, sizes
from providers.contract import MediaInput, MediaRole, VideoRequest

_SECONDS: Final = re.compile(r'("?)\d+(s?)"?')
_SIZE: Final = re.compile(r"\d+(\D)\d+")
_ORDER: Final = tuple(MediaRole)


@dataclass(frozen=True)
class WireFields:
    r"""A provider's usual names: of seconds, size, resolution, aspect_ratio, parameters and roles.

    `request.wire` gives a model its own: another name, or False for a field that it does not have. For seconds and
    size it may be an example of the value instead: "4s", "4" (a number), "\"4\"" (a text), "1280*720". A
    resolution may have another word: "720p" = "hd". A role has a name only where one is given; one that ends in "[]"
    is a list, which roles may share ("image_urls[]" of a first and a last frame). A shape is said in words, unless
    there are none and `names` or the model has a field for the size in pixels, or the model has an example of one.
    """

    names: Mapping[str, str]
    separator: str = "x"

    def length(self, request: VideoRequest) -> dict[str, Any]:
        """The length, in the form of the example; a number without one."""
        said = request.wire.get("seconds", "")
        example = _SECONDS.fullmatch(str(said))
        name = self.names.get("seconds") if example else self._name(request, "seconds")
        if name is None:
            return {}
        value = request_fields.seconds(request)
        if example is None or not (example[1] or example[2]):
            return {name: value}
        return {name: f"{value}{example[2]}"}

    def shape(self, request: VideoRequest) -> dict[str, Any]:
        """The size: as an example has it, else in the words of the model's row, in pixels, in words that fit it."""
        if _SIZE.fullmatch(str(request.wire.get("size", ""))):
            return self._pixels(request)
        words = {"resolution": request.resolution, "aspect_ratio": request.aspect_ratio}
        if not any(words.values()):
            if request.wire.get("size", "size" in self.names):
                return self._pixels(request)
            words = {"resolution": sizes.tier(request.size), "aspect_ratio": sizes.aspect_ratio(request.size)}
            if None in words.values():
                request_fields.refuse("size", f"{request.size} has no usual resolution and aspect ratio")
        named = ((self._name(request, field), value) for field, value in words.items() if value is not None)
        return {name: self._word(request, value) for name, value in named if name is not None}

    def parameters(self, request: VideoRequest) -> dict[str, Any]:
        """The explicit parameters. INVALID_REQUEST names one that the model has no field for."""
        known = {*self.names, *request.wire} - {"seconds", "size", "resolution", "aspect_ratio"}
        known -= {role.value for role in MediaRole}
        named = {field: self._name(request, field) for field in known}
        return request_fields.parameters(request, {f: name for f, name in named.items() if name is not None})

    async def files(
        self, request: VideoRequest, write: Callable[[MediaInput], Awaitable[str]]
    ) -> dict[str, Any]:
        """The input files as `write` makes them, first frames first; references are a list."""
        fields: dict[str, Any] = {}
        for item in sorted(request.media, key=lambda item: _ORDER.index(item.role)):
            named = self._name(request, item.role.value)
            if named is None:
                request_fields.refuse(item.role.value, f"{request.model} has no field for such a file")
            name = named.removesuffix("[]")
            if named != name and item.role is MediaRole.LAST_FRAME and name not in fields:
                request_fields.refuse(item.role.value, f"{request.model} takes it only with a first frame")
            if named != name or item.role is MediaRole.REFERENCE:
                fields.setdefault(name, []).append(await write(item))
            elif name in fields:
                request_fields.refuse(item.role.value, f"{request.model} takes at most 1")
            else:
                fields[name] = await write(item)
        return fields

    def _pixels(self, request: VideoRequest) -> dict[str, Any]:
        said = request.wire.get("size", "")
        example = _SIZE.fullmatch(str(said))
        name = self.names.get("size", "size") if example else str(self._name(request, "size"))
        return {name: sizes.joined(request.size, example[1] if example else self.separator)}

    def _name(self, request: VideoRequest, field: str) -> str | None:
        said = request.wire.get(field, True)
        return said if isinstance(said, str) else self.names.get(field) if said else None

    def _word(self, request: VideoRequest, value: str) -> str | bool:
        return request.wire.get(value, value)
