"""The catalogue and the capability filter."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.settings import Settings
from gateway.videos.capabilities import Demand, select, shaped, suits
from gateway.videos.routing import Catalogue
from gateway.videos.stored import StoredMedia, StoredRequest
from providers.contract import MediaRole, Operation
from providers.spec import ModelSpec, UpstreamSpec


def upstream(name: str, *models: ModelSpec, dialect: str = "openai") -> UpstreamSpec:
    return UpstreamSpec(name=name, base_url="http://127.0.0.1:9", options={"dialect": dialect}, models=models)


def catalogue(*upstreams: UpstreamSpec, **settings: Any) -> Catalogue:
    return Catalogue(Settings(upstreams=upstreams, **settings), today=lambda: date(2026, 11, 22))


def spec(name: str, **fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"id": name, **fields})


def test_several_upstreams_serve_one_model_in_order():
    found = catalogue(upstream("a", spec("m")), upstream("b", spec("m"), spec("n")))
    assert [route.upstream.name for route in found.resolve("m").routes] == ["a", "b"]
    assert [model.id for model in found.models()] == ["m", "n"]
    assert len(found.find("m")) == 2
    assert found.find("nope") == ()


def test_the_default_model_is_the_named_one_else_the_local_one_else_the_first():
    plain, local = upstream("a", spec("m")), upstream("local", spec("tiny"), dialect="local")
    assert catalogue(plain).resolve(None).id == "m"
    assert catalogue(plain, local).resolve(None).id == "tiny"
    assert catalogue(plain, local).resolve("sora-2-pro").id == "tiny"
    assert catalogue(plain, local, default_model="m").resolve("sora-2").id == "m"
    mapped = catalogue(plain, local, aliases={"sora-2": "m", "best": "sora-2"})
    assert mapped.resolve("best").id == "m"
    assert mapped.resolve("sora-2-pro").id == "tiny"
    assert mapped.aliases_of("m") == ["best", "sora-2"]
    own = catalogue(upstream("openai", spec("sora-2")), local)
    assert own.resolve("sora-2").id == "sora-2"
    with pytest.raises(NotFound):
        catalogue(plain, default_model="missing").resolve(None)
    looped = catalogue(plain, aliases={"x": "y", "y": "x"})
    with pytest.raises(NotFound):
        looped.resolve("x")


def test_the_local_worker_comes_and_goes():
    found = catalogue()
    with pytest.raises(Unavailable):
        found.resolve(None)
    before = found.revision
    found.add_upstream(upstream("local", spec("tiny"), dialect="local"))
    assert (found.resolve(None).id, found.is_local("tiny"), found.revision) == ("tiny", True, before + 1)
    found.remove("local")
    found.remove("local")
    assert (found.models(), found.revision) == ([], before + 2)
    with pytest.raises(NotFound) as refused:
        found.resolve("tiny")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_retired_models_are_404_and_named():
    found = catalogue(
        upstream("a", spec("old", shutdown_date="2026-09-24"), spec("m", shutdown_date="2026-11-22")),
        upstream("b", spec("m", shutdown_date="2027-01-01")),
    )
    with pytest.raises(NotFound) as refused:
        found.resolve("old")
    assert "2026-09-24" in refused.value.message
    assert [model.id for model in found.models()] == ["m"]
    assert [route.upstream.name for route in found.resolve("m").routes] == ["b"]
    assert len(found.find("m")) == 2


def test_selection_narrows_routes_and_fills_what_was_left_open():
    found = catalogue(
        upstream("a", spec("m", seconds=[4], sizes=["1280x720"])),
        upstream("b", spec("m", seconds=[4, 8], sizes=["1280x720", "720x1280"])),
        upstream("c", spec("m", seconds=[8], sizes=["720x1280"])),
    )
    model = found.resolve("m")

    def names(demand: Demand) -> tuple[list[str], Decimal, str]:
        chosen = select(found, model, demand)
        return [route.upstream.name for route in chosen.routes], chosen.seconds, chosen.size

    assert names(Demand()) == (["a", "b"], Decimal(4), "1280x720")
    assert names(Demand(seconds=Decimal("8.0"))) == (["b", "c"], Decimal(8), "720x1280")
    assert names(Demand(size="720x1280")) == (["b"], Decimal(4), "720x1280")
    assert names(Demand(aspect_ratio="9:16", seconds=Decimal(8))) == (["b", "c"], Decimal(8), "720x1280")
    split = catalogue(
        upstream("a", spec("m", seconds=[4], sizes=["1280x720"])),
        upstream("b", spec("m", seconds=[8], sizes=["720x1280"])),
    )
    with pytest.raises(BadRequest):  # each alone is on offer, both together are not
        select(split, split.resolve("m"), Demand(seconds=Decimal(4), size="720x1280"))


@pytest.mark.parametrize(
    ("demand", "param", "offer"),
    [
        (Demand(seconds=Decimal(5)), "seconds", "4, 8"),
        (Demand(size="1x1"), "size", "1280x720"),
        (Demand(aspect_ratio="1:1"), "aspect_ratio", "size 1280x720"),
        (Demand(resolution="480p"), "resolution", "size 1280x720"),
        (Demand(parameters=frozenset({"fps"})), "fps", "seed"),
        (Demand(roles=frozenset({MediaRole.LAST_FRAME})), "last_frame", "input_reference"),
        (Demand(operation=Operation.EXTEND), "model", "generate"),
        (Demand(prompt_chars=101), "prompt", "at most 100 characters"),
        (Demand(reference_images=2), "reference_images", "at most 0 images"),
        (Demand(provider_options=frozenset({"duration"}), free=True), "provider_options", "cfg"),
    ],
)
def test_a_refusal_names_the_field_the_offer_and_who_can(demand: Demand, param: str, offer: str):
    weak = spec(
        "weak",
        seconds=[4, 8],
        sizes=["1280x720"],
        parameters=["seed"],
        roles=["first_frame"],
        operations=["generate"],
        max_prompt_chars=100,
        provider_options=["cfg"],
    )
    strong = spec(
        "strong",
        seconds=[5],
        sizes=["10x10", "854x480"],
        parameters=["fps"],
        roles=["last_frame", "reference"],
        max_reference_images=3,
    )
    tiny = spec("tiny", sizes=["11x11"])
    found = catalogue(upstream("a", weak), upstream("b", strong), upstream("c", tiny))
    with pytest.raises(BadRequest) as refused:
        select(found, found.resolve("weak"), demand)
    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")
    assert offer in refused.value.message
    if demand.size is None:
        assert "strong" in refused.value.message


def test_shapes():
    assert shaped("1280x720", "16:9", "720p")
    assert shaped("854x480", "16:9", None)
    assert not shaped("720x1280", "16:9", None)
    assert not shaped("1280x720", None, "1080p")


def test_accepted_requests_suit_the_routes_they_were_selected_for():
    request = StoredRequest(seconds=Decimal(4), size="1280x720", models=["m"], parameters={"seed": 1})
    fitting = spec("m", sizes=["1280x720"])
    assert suits(fitting, Operation.GENERATE, request)
    assert not suits(spec("m", sizes=["720x1280"]), Operation.GENERATE, request)
    assert suits(spec("m", sizes=["720x1280"]), Operation.EDIT, request)
    assert not suits(spec("m", seconds=[5]), Operation.GENERATE, request)
    assert not suits(spec("m", parameters=[]), Operation.GENERATE, request)
    assert not suits(spec("m", operations=["generate"]), Operation.EDIT, request)
    assert not suits(spec("m", needs_handle=["edit"]), Operation.EDIT, request)


def test_options_that_nobody_listed_are_only_for_those_who_pay_nothing():
    options = {"duration": 15}
    paid = StoredRequest(
        seconds=Decimal(4), size="1280x720", models=["m"], provider_options=options, prices={"routes": {}}
    )
    free = paid.model_copy(update={"prices": {"routes": {}, "free": True}})
    lists = spec("m", provider_options=["duration", "cfg"])
    for request, model, able in (
        (paid, spec("m"), False),
        (free, spec("m"), True),
        (paid, lists, True),
        (free, spec("m", provider_options=["cfg"]), False),
    ):
        assert suits(model, Operation.GENERATE, request) == able


def test_a_later_route_takes_no_more_than_it_would_have_been_asked_for():
    images = [StoredMedia(role=MediaRole.REFERENCE, storage_key="k", media_type="image/png", size=100)] * 2
    request = StoredRequest(seconds=Decimal(4), size="1280x720", models=["m"], media=images)
    able = {"roles": ["reference"], "max_reference_images": 2, "max_image_bytes": 100, "max_prompt_chars": 9}
    for changes, chars, fits in (
        ({}, 9, True),
        ({}, 10, False),
        ({"max_reference_images": 1}, 9, False),
        ({"max_image_bytes": 99}, 9, False),
    ):
        assert suits(spec("m", **{**able, **changes}), Operation.GENERATE, request, chars) == fits
