"""Bodies and requests that no client of good will sends."""

import gzip
import zlib
from typing import Final

B: Final = "Xx"
JSON: Final = "application/json"
FORM: Final = f"multipart/form-data; boundary={B}"


def _part(value: bytes, head: str = 'name="prompt"', more: str = "") -> bytes:
    return (
        f"--{B}\r\nContent-Disposition: form-data; {head}{more}\r\n\r\n".encode("latin-1") + value + b"\r\n"
    )


END: Final = f"--{B}--\r\n".encode()
PROMPT: Final = _part(b"a lighthouse")
FILE: Final = 'name="input_reference"; filename="a.png"'

# what is neither JSON nor a form, whatever the operation: name -> (content type, body)
BROKEN: Final[dict[str, tuple[str, bytes]]] = {
    "arrays without end": (JSON, b"[" * 100_000),
    "arrays to the bottom": (JSON, b"[" * 100_000 + b"]" * 100_000),
    "objects without end": (JSON, b'{"a":' * 100_000),
    "objects to the bottom": (JSON, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "no UTF-8": (JSON, b'{"prompt": "\xff\xfe"}'),
    "overlong UTF-8": (JSON, b'{"prompt": "\xc0\x80\xe0\x80\xaf"}'),
    "a surrogate as UTF-8": (JSON, b'{"prompt": "\xed\xa0\x80"}'),
    "UTF-16": (JSON + "; charset=utf-16", '{"prompt": "a"}'.encode("utf-16")),
    "UTF-32": (JSON, '{"prompt": "a"}'.encode("utf-32")),
    "a byte order mark": (JSON, b'\xef\xbb\xbf{"prompt": "a"}'),
    "half a pair": (JSON, b'{"prompt": "\\ud83d"}'),
    "the other half": (JSON, b'{"prompt": "\\ude00 a"}'),
    "a pair the wrong way": (JSON, b'{"prompt": "\\ude00\\ud83d"}'),
    "half a pair in a name": (JSON, b'{"\\ud83d": "a"}'),
    "NUL in a text": (JSON, b'{"prompt": "a\\u0000b"}'),
    "NUL in a name": (JSON, b'{"prompt\\u0000": "a"}'),
    "NUL far down": (JSON, b'{"metadata": {"a": {"b": ["c\\u0000"]}}}'),
    "a bare NUL": (JSON, b'{"prompt": "a\x00b"}'),
    "a bare control character": (JSON, b'{"prompt": "a\x01\nb"}'),
    "the same name twice": (JSON, b'{"prompt": "a", "prompt": "b"}'),
    "the same name in other letters": (JSON, b'{"prompt": "a", "pr\\u006fmpt": "b"}'),
    "the same name far down": (JSON, b'{"metadata": {"a": "1", "b": "2", "a": "3"}}'),
    "NaN": (JSON, b'{"seed": NaN}'),
    "Infinity": (JSON, b'{"seed": -Infinity}'),
    "a number without end": (JSON, b'{"seed": ' + b"9" * 100_000 + b"}"),
    "a number beyond all": (JSON, b'{"seed": 1e999999}'),
    "a number in hexadecimal": (JSON, b'{"seed": 0x10}'),
    "leading zeros": (JSON, b'{"seed": 007}'),
    "too many values": (JSON, b'{"a": [' + b"1," * 300_000 + b"1]}"),
    "a comma too many": (JSON, b'{"prompt": "a",}'),
    "a comment": (JSON, b'{"prompt": "a" /* b */}'),
    "single quotes": (JSON, b"{'prompt': 'a'}"),
    "two documents": (JSON, b'{"prompt": "a"}{"prompt": "b"}'),
    "an array": (JSON, b'[{"prompt": "a"}]'),
    "a text": (JSON, b'"prompt"'),
    "null": (JSON, b"null"),
    "an end": (JSON, b'{"prompt": "a'),
    "XML": ("application/xml", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
    "a form of the old kind": ("application/x-www-form-urlencoded", b"prompt=a"),
    "pickle": ("application/octet-stream", b"cos\nsystem\n(S'id'\ntR."),
    "a form without boundary": ("multipart/form-data", PROMPT + END),
    "a form with an empty boundary": ("multipart/form-data; boundary=", PROMPT + END),
    "a form with a boundary without end": (f"multipart/form-data; boundary={'x' * 5000}", PROMPT + END),
    "a form with two boundaries": (f"{FORM}; boundary=other", b"--other--\r\n" + PROMPT),
    "a form of another boundary": (FORM, (PROMPT + END).replace(b"Xx", b"Yy")),
    "a form that ends in a head": (FORM, f"--{B}\r\nContent-Disp".encode()),
    "a form that ends in a text": (FORM, PROMPT[:-8]),
    "a form that ends in a file": (FORM, PROMPT + _part(b"\x89PNG" * 9, FILE)),
    "a form that ends before its end": (FORM, PROMPT),
    "a form of nothing": (FORM, b""),
    "a form of blank lines": (FORM, b"\r\n" * 100_000),
    "a form with a long preamble": (FORM, b"x" * 1_000_000),
    "a form with a part without head": (FORM, f"--{B}\r\n\r\na\r\n".encode() + END),
    "a form with a part without name": (FORM, _part(b"a", 'filename="a"') + END),
    "a form with a part of another kind": (FORM, PROMPT.replace(b"form-data", b"attachment") + END),
    "a form with a head without end": (FORM, f"--{B}\r\n".encode() + b"A: b\r\n" * 10_000 + END),
    "a form with a line without end": (FORM, f"--{B}\r\nA: ".encode() + b"x" * 100_000 + END),
    "a form with a NUL in its head": (FORM, _part(b"a", 'name="pro\0mpt"') + END),
    "a form with a name that is no UTF-8": (FORM, _part(b"a", 'name="\xff\xfe"') + END),
    "a form with a text that is no UTF-8": (FORM, _part(b"\xff\xfe") + END),
    "a form with a surrogate": (FORM, _part(b"\xed\xa0\x80") + END),
    "a form with a NUL in a text": (FORM, _part(b"a\0b") + END),
    "a form with a field twice": (FORM, PROMPT * 2 + END),
    "a form with too many parts": (FORM, _part(b"", 'name="a[]"') * 10_000 + END),
    "a form with too many files": (FORM, _part(b"x", FILE) * 50 + END),
    "a form in a form": (
        FORM,
        _part(PROMPT, 'name="a"', "\r\nContent-Type: multipart/mixed; boundary=Z") + END,
    ),
    "a form with brackets without end": (FORM, _part(b"a", 'name="a' + "[b]" * 5000 + '"') + END),
    "a form with an index beyond all": (FORM, _part(b"a", 'name="a[99999999]"') + END),
    "a form with open brackets": (FORM, _part(b"a", 'name="a[b"') + END),
    "a form with a name of Python": (FORM, _part(b"a", 'name="__class__[__init__]"') + END),
}
BOMB: Final = gzip.compress(b'{"prompt": "' + b"a" * 50_000_000 + b'"}')
ENCODED: Final[dict[str, tuple[str, bytes]]] = {
    "a gzip bomb": ("gzip", BOMB),
    "a gzip bomb twice": ("gzip, gzip", gzip.compress(BOMB)),
    "a gzip bomb by its old name": ("x-gzip", BOMB),
    "a deflate bomb": ("deflate", zlib.compress(b" " * 50_000_000)),
    "brotli": ("br", b"\x8b\x00\x80"),
    "zstandard": ("zstd", b"\x28\xb5\x2f\xfd"),
    "no such coding": ("\x7f", b"{}"),
}

_HEAD: Final = b"Host: a\r\nContent-Type: application/json\r\n"
# name -> what goes over the wire
NO_HTTP: Final[dict[str, bytes]] = {
    "noise": bytes(range(256)) * 4,
    "TLS": bytes.fromhex("160301007a010000760303") + b"\0" * 111,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "no such version": b"GET / HTTP/7.3\r\nHost: a\r\n\r\n",
    "no such method": b"GRAB / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a proxy's method": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path that is no ASCII": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path with a NUL": b"GET /v1/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header with a NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    "a header with a bare return": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-B: c\r\n\r\n",
    "a header with a blank in its name": b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "a header with a blank before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde",
    "two lengths": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}a",
    "a length that is none": b"POST /v1/videos HTTP/1.1\r\n" + _HEAD + b"Content-Length: two\r\n\r\n{}",
    "a negative length": b"POST /v1/videos HTTP/1.1\r\n" + _HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a length with a sign": b"POST /v1/videos HTTP/1.1\r\n" + _HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond all": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Content-Length: 1"
    + b"0" * 40
    + b"\r\n\r\n{}",
    "a length and chunks": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
    "chunks that are not the last coding": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks of no size": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
    "chunks of a size beyond all": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"f" * 40
    + b"\r\n{}\r\n",
    "a chunk longer than it says": b"POST /v1/videos HTTP/1.1\r\n"
    + _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}abc\r\n0\r\n\r\n",
    "a long address": b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n",
    "a header that is just too long": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 65_536 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n",
}
ODD: Final = (
    "%00",
    "a%00b",
    "%ff",
    "%ed%a0%80",
    "%c0%80",
    "%0d%0aX-Injected:%20yes",
    "%E2%80%AE",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "-1",
    "0",
    "1e5",
    "99999999999999999999999999",
    "%D9%A3",
    "null",
    "NaN",
    "true",
    "%27%20OR%201=1--",
    "%25s%25n",
    "{}",
    "x" * 3000,
)
