"""One form for several models: what it offers, over the whole catalogue, and that the planner takes what it says."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from gateway.dashboard.model_form import FormField, body_for, fields_of
from tests.gateway.dashboard.test_models_pages import everything
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.gateway.media_files import make_image

Json = Mapping[str, Any]
CAN: Json = {
    "operations": ["generate"],
    "inputs": [],
    "required_inputs": [],
    "parameters": [],
    "seconds": ["4", "8"],
    "sizes": ["720x1280", "1280x720"],
    "default_seconds": "4",
    "default_size": "720x1280",
    "audio": None,
    "default_audio": None,
    "max_reference_images": 0,
}


def model(name: str, *, tiers: list[str] | None = None, **can: Any) -> Json:
    return {"id": name, "capabilities": {**CAN, **can}, "prices": [{"service_tiers": tiers}]}


def named(*models: Json) -> dict[str, FormField]:
    return {each.name: each for each in fields_of(models)}


def test_a_plain_model_asks_for_length_and_size_alone() -> None:
    fields = named(model("a"))
    assert list(fields) == ["seconds", "size"]
    assert fields["seconds"].options == (("4", "4 s"), ("8", "8 s"))
    assert fields["seconds"].default == "4"
    assert fields["size"].only == ()


def test_what_only_some_take_says_whose_it_is() -> None:
    fields = named(model("a", parameters=["seed", "negative_prompt"]), model("b", parameters=["seed"]))
    assert fields["seed"].only == ()
    assert fields["negative_prompt"].only == ("a",)


def test_options_that_all_have_come_first_and_give_the_default() -> None:
    fields = named(model("a", seconds=["4", "8"]), model("b", seconds=["8", "10"], default_seconds="10"))
    assert fields["seconds"].options == (("8", "8 s"), ("4", "4 s (a only)"), ("10", "10 s (b only)"))
    assert fields["seconds"].default == "8"


def test_inputs_become_images_with_their_names_in_the_api() -> None:
    fields = named(
        model(
            "a", inputs=["first_frame", "last_frame", "reference", "source"], required_inputs=["first_frame"]
        ),
        model("b", inputs=["first_frame", "reference"], max_reference_images=3),
    )
    assert {name for name, each in fields.items() if each.kind in {"image", "images"}} == {
        "input_reference",
        "last_frame",
        "reference_images",
    }
    assert fields["input_reference"].required is False  # b makes one without
    assert fields["last_frame"].only == ("a",)
    assert fields["reference_images"].most == 3


@pytest.mark.parametrize(
    ("audio", "there"), [("none", False), ("always", False), (None, False), ("optional", True)]
)
def test_sound_is_asked_only_where_it_is_a_choice(audio: str | None, there: bool) -> None:
    assert ("audio" in named(model("a", audio=audio, default_audio=False))) is there


def test_a_tier_is_asked_where_prices_know_more_than_one() -> None:
    assert "service_tier" not in named(model("a", tiers=["default"]))
    assert [value for value, _ in named(model("a", tiers=["flex"]))["service_tier"].options] == [
        "default",
        "flex",
    ]


def test_a_body_has_only_what_its_model_takes() -> None:
    said = {"prompt": "a boat", "seed": "7", "audio": "false", "seconds": "8", "nonsense": "1", "size": ""}
    loud = model("a", audio="optional", default_audio=True)
    assert body_for(loud, said) == {"model": "a", "prompt": "a boat", "seconds": "8", "audio": False}
    assert body_for(model("b", parameters=["seed"]), said) == {
        "model": "b",
        "prompt": "a boat",
        "seconds": "8",
        "seed": "7",
    }
    assert body_for(loud, {"prompt": "a", "audio": True})["audio"] is True


# --- the whole catalogue before the planner -------------------------------------------------------


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("forms"), upstreams=everything())) as visit:
        yield visit


@pytest.fixture(scope="module")
def known(visit: Visit) -> list[Json]:
    models: list[Json] = visit.operator.get("/v1/models").json()["data"]
    return [each for each in models if "generate" in each["capabilities"]["operations"]]


@pytest.fixture(scope="module")
def image(visit: Visit) -> Json:
    made = visit.post(
        "/playground/images", files={"image": ("fox.png", make_image("png", (1280, 720)), "image/png")}
    )
    return {"file_id": made.json()["file_id"]}


def defaults(fields: list[FormField], image: Json) -> dict[str, Any]:
    """What the form says when nobody touched it but for the images that it needs."""
    said: dict[str, Any] = {"prompt": "a fox in the snow"}
    for each in fields:
        if each.kind == "choice":
            said[each.name] = each.default
        elif each.required:
            said[each.name] = image if each.kind == "image" else [image]
    return said


def refusal(visit: Visit, body: Json, client: httpx.Client) -> Json | None:
    answer = client.post("/v1/videos/quote", json=body)
    return None if answer.status_code == 200 else answer.json()["error"]


def test_the_planner_takes_the_untouched_form_of_every_model(
    visit: Visit, known: list[Json], image: Json
) -> None:
    assert len(known) > 200
    operator = visit.operator
    refused = {
        each["id"]: error
        for each in known
        if (error := refusal(visit, body_for(each, defaults(fields_of([each]), image)), operator))
    }
    assert refused == {}


def test_the_planner_takes_every_option_of_every_model(visit: Visit, known: list[Json], image: Json) -> None:
    operator = visit.operator
    refused = []
    for each in known:
        fields = fields_of([each])
        usual = defaults(fields, image)
        for field in fields:
            options = [value for value, _ in field.options] if field.kind == "choice" else []
            if field.kind == "number":
                options = ["7"] if field.name != "n" else ["2"]
            for option in options:
                error = refusal(visit, body_for(each, {**usual, field.name: option}), operator)
                if error is not None and "makes at most" not in error["message"]:
                    refused.append((each["id"], field.name, option, error["message"]))
    assert refused == []
