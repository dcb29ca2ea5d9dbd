"""A request as code that somebody can run: curl, Python and Node with OpenAI's own SDKs.

The address is the visitor's own, the key comes from the environment: ONEREEL_API_KEY. What is written is valid for every
prompt, whatever quotes and line ends it has.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

KEY_VARIABLE: Final = "ONEREEL_API_KEY"
Operation = Literal["generate", "remix", "edit", "extend"]
Fields = Mapping[str, Any]

_PATHS: Final[Mapping[str, str]] = {
    "generate": "/videos",
    "remix": "/videos/{id}/remix",
    "edit": "/videos/edits",
    "extend": "/videos/extensions",
}
_PYTHON_OWN: Final[Mapping[str, frozenset[str]]] = {
    "generate": frozenset({"model", "prompt", "seconds", "size", "input_reference"}),
    "remix": frozenset({"prompt"}),
}
"""What the SDK's method takes by name. Its methods for edits and extensions want the video's file: those are posted."""


@dataclass(frozen=True, slots=True)
class Snippets:
    """The same request three times."""

    curl: str
    python: str
    node: str

    def labelled(self) -> list[tuple[str, str, str]]:
        """List them as (id, label, text)."""
        return [("curl", "curl", self.curl), ("python", "Python", self.python), ("node", "Node", self.node)]


def snippets(
    base_url: str,
    fields: Fields,
    *,
    operation: Operation = "generate",
    source: str | None = None,
    files: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Snippets:
    """Write the request that `fields` are the JSON body of, as a program that waits for the video and saves it.

    `source` is the video that a remix, edit or extension is of. `files` are inputs that the caller has as files: field to
    file name; of several `reference_images` the field is `reference_images[0]` and so on. `key` is written in where it is
    given, for whoever has just made it.
    """
    body = {
        name: _plain(value) for name, value in fields.items() if value is not None and value not in ({}, [])
    }
    if operation in ("edit", "extend") and source is not None:
        body = {"video": {"id": source}, **body}
    root = f"{base_url.rstrip('/')}/v1"
    path = _PATHS[operation].format(id=source)
    sent = dict(files or {})
    return Snippets(
        curl=_curl(root, path, body, sent, key),
        python=_python(root, operation, body, sent, source, key),
        node=_node(root, operation, body, sent, source, key),
    )


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


# --- curl ----------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """A word of any POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _curl(root: str, path: str, body: Fields, files: Mapping[str, str], key: str | None) -> str:
    begin = "" if key is None else f"{KEY_VARIABLE}={_quoted(key)}\n"
    if files:
        parts = [f"--form-string {_quoted(f'{name}={text}')}" for name, text in _flat(body)]
        parts += [f"--form {_quoted(f'{name}=@{file}')}" for name, file in files.items()]
    else:
        parts = ["-H 'Content-Type: application/json'", f"-d {_quoted(_json(body, indent=2))}"]
    sent = " \\\n  ".join([f'-X POST "$API{path}"', *parts])
    return f"""\
{begin}API={_quoted(root)}
AUTH="Authorization: Bearer $ONEREEL_API_KEY"

ANSWER=$(curl -sS --fail-with-body -H "$AUTH" {sent}) || {{ printf '%s\\n' "$ANSWER"; exit 1; }}
ID=$(printf '%s' "$ANSWER" | grep -o 'video_[0-9a-f]\\{{32\\}}' | head -n 1)

until curl -sS --fail -H "$AUTH" "$API/videos/$ID" | grep -Eq '"status": ?"(completed|failed)"'; do
  sleep 2
done
curl -sS --fail-with-body -H "$AUTH" "$API/videos/$ID/content" -o "$ID.mp4" && echo "$ID.mp4"
"""


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Write nested fields as a form does: a[b]=c."""
    if isinstance(value, Mapping):
        pairs = [(f"{name}[{key}]" if name else key, each) for key, each in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{name}[{n}]", each) for n, each in enumerate(value)]
    else:
        return [(name, value if isinstance(value, str) else _json(value))]
    return [pair for key, each in pairs for pair in _flat(each, key)]


# --- Python --------------------------------------------------------------------------------------


def _python(  # noqa: PLR0917  (the parts of one program)
    root: str,
    operation: Operation,
    body: Fields,
    files: Mapping[str, str],
    source: str | None,
    key: str | None,
) -> str:
    secret = f'os.environ["{KEY_VARIABLE}"]' if key is None else _json(key)
    begin = "import os\n\n" if key is None else ""
    posted = operation not in _PYTHON_OWN
    own = _PYTHON_OWN.get(operation, frozenset())
    if posted:
        arguments = [_json(_PATHS[operation]), f"body={_python_value(dict(body))}", "cast_to=Video"]
    else:
        arguments = [_json(source)] if operation == "remix" else []
        arguments += [f"{name}={_python_value(value)}" for name, value in body.items() if name in own]
        arguments += [f'{name}=open({_json(file)}, "rb")' for name, file in files.items() if name in own]
        extra = {name: value for name, value in body.items() if name not in own}
        arguments += [f"extra_body={_python_value(extra)}"] if extra else []
    call = "client.post" if posted else f"client.videos.{'create' if operation == 'generate' else operation}"
    imported = "\nfrom openai.types import Video" if posted else ""
    lines = "".join(f"    {argument},\n" for argument in arguments)
    others = [f"{name} ({file})" for name, file in files.items() if name not in own]
    note = (
        f"# The SDK sends no file as {', '.join(others)}: upload it, and give its file_id in extra_body.\n"
        if others
        else ""
    )
    return f"""\
{begin}from openai import OpenAI{imported}

client = OpenAI(base_url={_json(root)}, api_key={secret})

{note}video = {call}(
{lines})
video = client.videos.poll(video.id)
if video.status == "failed":
    raise SystemExit(video.error.message)
client.videos.download_content(video.id).write_to_file(f"{{video.id}}.mp4")
print(f"{{video.id}}.mp4")
"""


def _python_value(value: Any, depth: int = 1) -> str:
    """A literal; JSON's texts are Python's as well."""
    if isinstance(value, dict):
        inner = "".join(
            f"{'    ' * (depth + 1)}{_json(key)}: {_python_value(each, depth + 1)},\n"
            for key, each in value.items()
        )
        return f"{{\n{inner}{'    ' * depth}}}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_python_value(each, depth + 1) for each in value)}]"
    if value is None or isinstance(value, bool):
        return repr(value)
    return _json(value)


# --- Node ----------------------------------------------------------------------------------------


def _node(  # noqa: PLR0917  (the parts of one program)
    root: str,
    operation: Operation,
    body: Fields,
    files: Mapping[str, str],
    source: str | None,
    key: str | None,
) -> str:
    secret = f"process.env.{KEY_VARIABLE}" if key is None else _json(key)
    said = _json(body, indent=2)
    read = (
        'import { createReadStream, writeFileSync } from "node:fs";'
        if files
        else 'import { writeFileSync } from "node:fs";'
    )
    if files:
        streams = "".join(
            f",\n  {_json(name)}: createReadStream({_json(file)})" for name, file in files.items()
        )
        said = said.removesuffix("\n}") + streams + ",\n}"
    call = {
        "generate": f"videos.create({said})",
        "remix": f"videos.remix({_json(source)}, {said})",
    }.get(operation) or f"post({_json(_PATHS[operation])}, {{ body: {said} }})"
    return f"""\
{read}
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {_json(root)}, apiKey: {secret} }});

let video = await client.{call};
while (video.status === "queued" || video.status === "in_progress") {{
  await new Promise((done) => setTimeout(done, 2000));
  video = await client.videos.retrieve(video.id);
}}
if (video.status === "failed") throw new Error(video.error.message);
const content = await client.videos.downloadContent(video.id);
writeFileSync(`${{video.id}}.mp4`, Buffer.from(await content.arrayBuffer()));
console.log(`${{video.id}}.mp4`);
"""
