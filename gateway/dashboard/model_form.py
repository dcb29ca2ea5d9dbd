"""From what models can do to the fields of a form. Pure: public models (see `gateway.http.models`) in, fields out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = Mapping[str, Any]
Kind = Literal["choice", "number", "text", "image", "images"]

_NUMBERS: Final = {"seed": (0, 2**32 - 1), "fps": (1, 240), "n": (1, 10)}
_LABELS: Final = {
    "seconds": "Length",
    "size": "Size",
    "audio": "Sound",
    "quality": "Quality",
    "service_tier": "Service tier",
    "negative_prompt": "Not in the picture",
    "seed": "Seed",
    "fps": "Frames per second",
    "n": "How many",
    "input_reference": "First frame",
    "last_frame": "Last frame",
    "reference_images": "Reference images",
}
_HELP: Final = {
    "seed": "The same seed and request make the same video again, where the model can.",
    "n": "Each is a video of its own, with its own price.",
    "reference_images": "Things or people that shall be in the video.",
}
_IMAGES: Final = {
    "first_frame": "input_reference",
    "last_frame": "last_frame",
    "reference": "reference_images",
}
_ORDER: Final = tuple(_LABELS)


@dataclass(frozen=True, slots=True)
class FormField:
    """One field. `options` are (value, words); `only` names the models that take it, empty where all chosen ones do."""

    name: str
    label: str
    kind: Kind
    options: tuple[tuple[str, str], ...] = ()
    default: str = ""
    help: str = ""
    only: tuple[str, ...] = ()
    required: bool = False
    least: int = 0
    most: int = 0


def fields_of(models: Sequence[Json]) -> list[FormField]:
    """List the fields of one form for all these models: what any of them takes, each option that any of them has."""
    found: dict[str, list[tuple[str, FormField]]] = {}
    for model in models:
        for each in _of_one(model):
            found.setdefault(each.name, []).append((model["id"], each))
    joined = [_joined(each, len(models)) for each in found.values()]
    return sorted(joined, key=lambda each: _ORDER.index(each.name))


def body_for(model: Json, said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of what a form says that which the model takes: the body of POST /v1/videos."""
    taken = {each.name for each in _of_one(model)}
    body = {name: value for name, value in said.items() if name in taken and value not in (None, "", [])}
    if "audio" in body:
        body["audio"] = body["audio"] == "true"
    options = said.get("provider_options")
    return {
        "model": model["id"],
        "prompt": said.get("prompt"),
        **body,
        **({"provider_options": options} if options else {}),
    }


def _of_one(model: Json) -> Iterable[FormField]:
    can = model["capabilities"]
    if can["seconds"]:
        yield _choice(
            "seconds", [(each, f"{each} s") for each in can["seconds"]], can["default_seconds"] or ""
        )
    if can["sizes"]:
        yield _choice("size", [(each, each) for each in can["sizes"]], can["default_size"] or "")
    if can["audio"] == "optional":
        default = {True: "with", False: "without", None: "the model's own way"}[can["default_audio"]]
        yield _choice("audio", [("", f"default ({default})"), ("true", "with"), ("false", "without")], "")
    tiers = {tier for price in model["prices"] for tier in price["service_tiers"] or ()}
    if tiers - {"default"}:
        yield _choice("service_tier", [(each, each) for each in sorted(tiers | {"default"})], "default")
    yield from _parameters(can["parameters"])
    required = set(can["required_inputs"])
    for role in can["inputs"]:
        if (name := _IMAGES.get(role)) is not None:
            many = role == "reference"
            yield FormField(
                name,
                _LABELS[name],
                "images" if many else "image",
                help=_HELP.get(name, ""),
                required=role in required,
                most=max(1, can["max_reference_images"]) if many else 1,
            )


def _parameters(names: Sequence[str]) -> Iterable[FormField]:
    for name in names:
        if name in _NUMBERS:
            least, most = _NUMBERS[name]
            yield FormField(name, _LABELS[name], "number", help=_HELP.get(name, ""), least=least, most=most)
        elif name == "negative_prompt":
            yield FormField(name, _LABELS[name], "text")
        elif name == "quality":
            yield _choice(name, [("", "the model's own"), *[(each, each) for each in ("fast", "exact")]], "")


def _choice(name: str, options: Sequence[tuple[str, str]], default: str) -> FormField:
    return FormField(name, _LABELS[name], "choice", tuple(options), default)


def _joined(found: Sequence[tuple[str, FormField]], count: int) -> FormField:
    """One field for several models: options that all have come first, the others tell whose they are."""
    first = found[0][1]
    only = () if len(found) == count else tuple(name for name, _ in found)
    options = first.options
    if len(found) > 1 and first.kind == "choice":
        owners: dict[str, list[str]] = {}
        words: dict[str, str] = {}
        for name, each in found:
            for value, text in each.options:
                owners.setdefault(value, []).append(name)
                words.setdefault(value, text)
        common = [(value, words[value]) for value, names in owners.items() if len(names) == len(found)]
        others = [
            (value, f"{words[value]} ({', '.join(names)} only)")
            for value, names in owners.items()
            if len(names) < len(found)
        ]
        options = (*common, *others)
        if first.default not in dict(common) and common:
            first = FormField(first.name, first.label, first.kind, options, common[0][0], first.help, only)
    return FormField(
        first.name,
        first.label,
        first.kind,
        options,
        first.default,
        first.help,
        only,
        required=all(each.required for _, each in found) and not only,
        least=first.least,
        most=max(each.most for _, each in found),
    )
