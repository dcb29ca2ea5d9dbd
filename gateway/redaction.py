"""What must not be written down: the one rule for logs and for the audit log.

By name: a value whose name says secret or prompt is blanked, however deep it lies. By form: what looks like a
credential is blanked wherever it stands in a text.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "[hidden]"

_WORDS: Final = (
    "access_key",
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "encryption_key",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "prompt",
    "secret",
    "signature",
    "token",
)
_ONLY_ABOUT: Final = ("_at", "_count", "_env", "_id", "_ids", "_until", "_version")
"""Names that end like this tell which, when or how many, not what."""
_DEEPEST: Final = 8
_LONGEST: Final = 20_000  # characters of one text; nobody reads more, and patterns take their time

_NAME: Final = r"[\w.\-]{0,40}(?:" + "|".join(word.replace("_", "[_-]?") for word in _WORDS) + r")\w{0,20}"
_HINTS: Final = tuple({word.partition("_")[0] for word in _WORDS})
_QUOTED: Final = r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'"
_SIGNING: Final = "token|key|secret|sig|signature|password|passwd|credential|auth|code"
_PREFIXES: Final = ("sk", "rk", "pk", "xai", "gsk", "fal", "hf", "r8", "ghp", "whsec")


def _form(pattern: str, instead: str, hints: tuple[str, ...]) -> tuple[tuple[str, ...], re.Pattern[str], str]:
    return hints, re.compile(pattern, re.IGNORECASE | re.DOTALL), instead


_FORMS: Final = (
    _form(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        HIDDEN,
        ("-----begin",),
    ),
    _form(
        r"""(authorization\\?["']?\s*[:=]\s*\\?["']?)(?:\w+\s+)?[^\s"',;\\{}]+""",
        rf"\1{HIDDEN}",
        ("authorization",),
    ),
    _form(r"\b(bearer|basic)\s+[\w\-.~+/:=]{8,}", rf"\1 {HIDDEN}", ("bearer", "basic")),
    # user:password@ of a URL
    _form(r"""(?<=://)[^\s/?#@"']*@""", f"{HIDDEN}@", ("://",)),
    # parameters of a query that sign or authorize
    _form(rf"""([?&;][\w.\-]{{0,40}}(?:{_SIGNING})\w*=)[^&;\s"'<>]+""", rf"\1{HIDDEN}", ("?", "&", ";")),
    # what pydantic did not like, as it shows it: cut somewhere, so that no quote ends it
    _form(r"(\binput_value=)(?!\[hidden).*?(?=, input_type=)", rf"\1{HIDDEN}", ("input_value=",)),
    # "api_key": "..." and prompt='...', as JSON and Python write them
    _form(rf"""(\\?["']?\b{_NAME}\\?["']?\s*[:=]\s*)(?:{_QUOTED})""", rf"\1{HIDDEN}", _HINTS),
    _form(
        rf"""(\b(?!\w*prompt){_NAME}\s*[:=]\s*)(?!\[hidden)[^\s,;&"'\[\]{{}}()]+""", rf"\1{HIDDEN}", _HINTS
    ),
    # JSON Web Tokens, and keys that say what they are
    _form(r"\beyJ[\w\-]{8,}\.[\w\-]+(?:\.[\w\-]*)?", HIDDEN, ("eyj",)),
    _form(
        rf"\b(?:{'|'.join(_PREFIXES)})[-_](?:[a-z]{{2,8}}[-_])?[\w\-+/=]{{12,}}",
        HIDDEN,
        tuple(f"{prefix}{mark}" for prefix in _PREFIXES for mark in "-_"),
    ),
    _form(r"\bonereel_[\w\-]{43}", HIDDEN, ("onereel_",)),
    _form(r"\b(?:AKIA[0-9A-Z]{12,}|AIza[\w\-]{20,}|ya29\.[\w\-.]{10,})", HIDDEN, ("akia", "aiza", "ya29.")),
)
"""What a text must have, in lower case, for a form to be looked for; the form; what stands there instead."""


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a value of this name must not be written down."""
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return any(word in plain for word in _WORDS) and not plain.endswith(_ONLY_ABOUT)


def scrubbed(text: str) -> str:
    """Blank what looks like a credential in a text."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text)} characters)"
    lower = text.lower()
    for hints, form, instead in _FORMS:
        for hint in hints:
            if hint in lower:
                text = form.sub(instead, text)
                break
    return text


def redacted(value: Any, depth: int = 0) -> Any:
    """Make the same value without what must not be written down; what is no JSON becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrubbed(value)
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {str(name): _named(str(name), each, depth) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(each, depth + 1) for each in value]
    if isinstance(value, bytes | bytearray):
        return f"({len(value)} bytes)"
    return scrubbed(str(value))


def _named(name: str, value: Any, depth: int) -> Any:
    return HIDDEN if value is not None and is_secret(name) else redacted(value, depth + 1)
