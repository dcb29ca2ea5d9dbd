"""The credential in a header: every scheme that a provider uses, as the server sees it."""

from typing import Any

import pytest

from providers.auth import auth_headers
from providers.auth.headers import credential_parts
from providers.contract import ErrorKind, ProviderError
from tests.providers.auth_wire import account, sent


@pytest.mark.parametrize(
    ("scheme", "header", "value"),
    [
        (None, "authorization", "Bearer id:s3cret"),
        ("bearer", "authorization", "Bearer id:s3cret"),
        ({"header": "Authorization", "prefix": "Key "}, "authorization", "Key id:s3cret"),
        ({"header": "Authorization", "prefix": "Token "}, "authorization", "Token id:s3cret"),
        ({"header": "x-key"}, "x-key", "id:s3cret"),
        ({"header": "x-goog-api-key"}, "x-goog-api-key", "id:s3cret"),
        ({"header": "API-KEY"}, "api-key", "id:s3cret"),
    ],
)
async def test_each_scheme_is_one_header(scheme: Any, header: str, value: str) -> None:
    options = {} if scheme is None else {"auth": scheme}
    seen, _ = await sent("id:s3cret", "GET", "/v1/models", options=options)
    assert seen.headers[header] == value
    assert [name for name, text in seen.headers.items() if "s3cret" in text] == [header]


async def test_none_sends_no_credential() -> None:
    seen, _ = await sent("s3cret", "GET", "/v1/models", options={"auth": "none"})
    assert not [text for text in seen.headers.values() if "s3cret" in text]


@pytest.mark.parametrize("scheme", ["basic", {"prefix": "Key "}, ["x-key"]])
def test_an_unknown_scheme_names_the_option(scheme: Any) -> None:
    with pytest.raises(ValueError, match=r"'acme': options.auth must be") as caught:
        auth_headers(account("s3cret", auth=scheme))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("credential", "parts"),
    [("a:b", ["a", "b"]), ("a:b:c", ["a", "b", "c"]), (" a : b\n", ["a", "b"])],
)
def test_a_credential_is_split_at_its_colons(credential: str, parts: list[str]) -> None:
    assert credential_parts(account(credential), "ID:SECRET[:TOKEN]") == parts


@pytest.mark.parametrize("credential", ["", "a", "a:", ":b", "a:b:", "a:b:c:d"])
def test_a_credential_of_another_form_is_refused_without_being_shown(credential: str) -> None:
    with pytest.raises(ProviderError) as caught:
        credential_parts(account(credential), "ID:SECRET[:TOKEN]")
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    assert caught.value.message == "upstream 'acme': the credential must have the form ID:SECRET[:TOKEN]"
