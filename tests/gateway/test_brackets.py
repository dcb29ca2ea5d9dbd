"""Bracket names: what the SDKs write is read back exactly; everything unclear is refused."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.http.brackets import nest, split_name

KEYS = st.text("abcxyz_0", min_size=1, max_size=4)
LEAVES = st.text(max_size=5)
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(LEAVES, min_size=1, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
Wire = list[tuple[str, str]]


def written(value: Any, name: str) -> Wire:
    """Nested JSON as the SDKs write it into a form."""
    if isinstance(value, dict):
        return [pair for key, each in value.items() for pair in written(each, f"{name}[{key}]")]
    if isinstance(value, list):
        return [pair for each in value for pair in written(each, f"{name}[]")]
    return [(name, value)]


def read(wire: Wire, depth: int = 9) -> Any:
    return nest(wire, max_depth=depth)


def refused(wire: Wire, depth: int = 5) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        nest(wire, max_depth=depth)
    return caught.value


@given(st.dictionaries(KEYS, OBJECTS, max_size=4))
def test_what_is_written_is_read_back(value):
    assert read([pair for key, each in value.items() for pair in written(each, key)]) == value


@given(st.lists(st.fixed_dictionaries({"id": LEAVES, "w": LEAVES}), min_size=1, max_size=4))
def test_lists_of_objects_in_both_orders(objects):
    one_by_one = written(objects, "a")
    key_by_key = sorted(one_by_one, key=lambda pair: pair[0])  # how the Python SDK groups them
    assert read(one_by_one) == read(key_by_key) == {"a": objects}


@given(st.lists(st.tuples(st.text("ab[]", max_size=8), LEAVES), max_size=5))
def test_any_input_is_read_or_refused(wire):
    with suppress(BadRequest):
        assert isinstance(read(wire, 5), dict)


def test_the_names_of_the_contract():
    wire = [
        ("prompt", "a cat"),
        ("input_reference[image_url]", "https://x"),
        ("video[id]", "video_1"),
        ("lora[]", "one"),
        ("lora[]", "two"),
        ("cam[pan]", "left"),
        ("cam[x][y][]", "1"),
        ("cam[x][y][]", "2"),
        ("characters[][id]", "char_1"),
        ("characters[][id]", "char_2"),
        ("expires_after[seconds]", "3600"),
    ]
    assert read(wire) == {
        "prompt": "a cat",
        "input_reference": {"image_url": "https://x"},
        "video": {"id": "video_1"},
        "lora": ["one", "two"],
        "cam": {"pan": "left", "x": {"y": ["1", "2"]}},
        "characters": [{"id": "char_1"}, {"id": "char_2"}],
        "expires_after": {"seconds": "3600"},
    }


def test_optional_key_on_the_first_object_is_clear():
    assert read([("a[][id]", "1"), ("a[][w]", "x"), ("a[][id]", "2")]) == {
        "a": [{"id": "1", "w": "x"}, {"id": "2"}]
    }


def test_optional_key_that_could_be_anyones_is_refused():
    assert refused([("a[][id]", "1"), ("a[][id]", "2"), ("a[][w]", "x")]).code == "ambiguous_field"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["a", "a"], "duplicate_field"),
        (["a", "a[]"], "duplicate_field"),
        (["a[]", "a"], "duplicate_field"),
        (["a", "a[b]"], "duplicate_field"),
        (["a[b]", "a"], "duplicate_field"),
        (["a[b]", "a[]"], "duplicate_field"),
        (["a[]", "a[b]"], "duplicate_field"),
        (["a[]", "a[][b]"], "duplicate_field"),
        (["a[][b]", "a[]"], "duplicate_field"),
        (["a[b]", "a[b]"], "duplicate_field"),
        (["a[][]"], "invalid_field_name"),
        (["a[][b][]"], "invalid_field_name"),
        (["a[b"], "invalid_field_name"),
        (["a]"], "invalid_field_name"),
        (["[b]"], "invalid_field_name"),
        (["a[b]c"], "invalid_field_name"),
        (["a[b[c]]"], "invalid_field_name"),
        ([""], "invalid_field_name"),
        (["a\0"], "invalid_field_name"),
        (["a[1][2][3][4][5][6]"], "too_deep"),
        (["[" * 100_000], "too_deep"),
    ],
)
def test_refusals(names, code):
    assert refused([(name, "x") for name in names]).code == code


def test_depth_is_counted_in_brackets():
    assert split_name("a[1][2][3][4][5]", 5) == ("a", "1", "2", "3", "4", "5")
