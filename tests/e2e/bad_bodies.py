"""Bodies and forms that cannot be read, and what each is answered."""

from typing import Final

from tests.e2e.bad_requests import VIDEOS, Bad, form

_HEAD: Final = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
_MULTIPART: Final = {"Content-Type": "multipart/form-data; boundary=x"}


def _raw(name: str, word: str, text: bytes, code: str = "invalid_json", status: int = 400) -> Bad:
    return Bad(name, VIDEOS, None, word, status=status, code=code, text=text)


BODIES: Final = [
    _raw("broken JSON", "byte", b'{"prompt": "x",,}'),
    _raw("JSON that ends early", "ends too early", b'{"prompt": "x"'),
    _raw("JSON that is no object", "object", b"[1]"),
    _raw("JSON that is not UTF-8", "UTF-8", b'{"prompt": "\xff"}'),
    _raw(
        "JSON too deep",
        "32 levels",
        b'{"prompt": "x", "metadata": ' + b"[" * 40 + b"]" * 40 + b"}",
        "too_deep",
    ),
    _raw("JSON with half a character", "pair", b'{"prompt": "\\ud800"}'),
    _raw(
        "JSON over the limit",
        "200000 bytes",
        b'{"prompt": "' + b"x" * 200_000 + b'"}',
        "payload_too_large",
        413,
    ),
    Bad(
        "chunked body over the limit",
        VIDEOS,
        None,
        "200000 bytes",
        status=413,
        code="payload_too_large",
        chunks=3,
    ),
    Bad(
        "text over the limit in a form",
        VIDEOS,
        None,
        "200000 bytes",
        status=413,
        code="payload_too_large",
        form=[("prompt", "x" * 200_001)],
    ),
    Bad("no body at all", VIDEOS, "prompt", "required", code="missing_required_parameter"),
    Bad(
        "another content type",
        VIDEOS,
        None,
        "application/json",
        code="unsupported_content_type",
        text=b"prompt=x",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    Bad(
        "no content type",
        VIDEOS,
        None,
        "Content-Type",
        code="unsupported_content_type",
        text=b"{}",
        headers={"Content-Type": ""},
    ),
    Bad(
        "compressed",
        VIDEOS,
        None,
        "uncompressed",
        code="unsupported_content_encoding",
        text=b"{}",
        headers={"Content-Encoding": "gzip"},
    ),
    Bad(
        "form without a boundary",
        VIDEOS,
        None,
        "boundary",
        code="missing_boundary",
        text=b"x",
        headers={"Content-Type": "multipart/form-data"},
    ),
    Bad(
        "form of another boundary",
        VIDEOS,
        None,
        "malformed",
        code="invalid_multipart",
        text=b"--y\r\n\r\n--y--\r\n",
        headers=_MULTIPART,
    ),
    Bad(
        "form that ends early",
        VIDEOS,
        None,
        "malformed",
        code="invalid_multipart",
        text=_HEAD + b"abc",
        headers=_MULTIPART,
    ),
    Bad(
        "form that ends early in a file",
        VIDEOS,
        None,
        "malformed",
        code="invalid_multipart",
        text=_HEAD.replace(b'prompt"', b'input_reference"; filename="a.png"') + b"abc",
        headers=_MULTIPART,
    ),
    Bad(
        "form without a name",
        VIDEOS,
        None,
        "name",
        code="invalid_multipart",
        text=b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        headers=_MULTIPART,
    ),
    Bad(
        "form that is not UTF-8",
        VIDEOS,
        "prompt",
        "UTF-8",
        code="invalid_encoding",
        text=_HEAD + b"\xff\r\n--x--\r\n",
        headers=_MULTIPART,
    ),
    Bad(
        "form with too many fields",
        VIDEOS,
        None,
        "40 fields",
        code="too_many_fields",
        form=[(f"metadata[{n}]", "x") for n in range(41)],
    ),
    Bad(
        "form with too many files",
        VIDEOS,
        "f10",
        "10 files",
        code="too_many_files",
        form=[(f"f{n}", ("a", b"x")) for n in range(11)],
    ),
    Bad("form with a NUL", VIDEOS, "prompt", "NUL", form=[("prompt", "a\0b")]),
    form(
        "brackets too deep", "a[b][c][d][e][f][g]", "5 levels", ("a[b][c][d][e][f][g]", "x"), code="too_deep"
    ),
    form("broken brackets", "metadata[a", "field name", ("metadata[a", "x"), code="invalid_field_name"),
    form("a field twice", "seconds", "twice", ("seconds", "4"), ("seconds", "8"), code="duplicate_field"),
    form(
        "a field as value and object",
        "metadata[a]",
        "twice",
        ("metadata", "x"),
        ("metadata[a]", "y"),
        code="duplicate_field",
    ),
]
