"""The same request as a program: curl, Python and Node. Pure: text in, text out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

KEY_VARIABLE: Final = "ONEREEL_API_KEY"
_SDK: Final = ("model", "prompt", "seconds", "size")
"""What the SDKs' own signature has; the rest goes beside it."""


@dataclass(frozen=True, slots=True)
class Snippets:
    """Programs that make a video, wait for it and save it as video.mp4."""

    curl: str
    python: str
    node: str

    def labelled(self) -> list[tuple[str, str, str]]:
        """List them as (id, label, text)."""
        return [("curl", "curl", self.curl), ("python", "Python", self.python), ("node", "Node", self.node)]


def snippets(base_url: str, fields: Mapping[str, Any], *, key: str | None = None) -> Snippets:
    """Write POST /v1/videos with these fields. `key` is put in where it is given, else read from ONEREEL_API_KEY."""
    said = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    return Snippets(_curl(base_url, said, key), _python(base_url, said, key), _node(base_url, said, key))


def _curl(base_url: str, fields: Mapping[str, Any], key: str | None) -> str:
    body = json.dumps(fields, indent=2, ensure_ascii=False).replace("'", "'\\''")
    begin = "" if key is None else f"export {KEY_VARIABLE}={key}\n"
    auth = f'-H "Authorization: Bearer ${KEY_VARIABLE}"'
    return f"""{begin}id=$(curl -sS {base_url}/v1/videos {auth} \\
  -H "Content-Type: application/json" -d '{body}' |
  sed -n 's/.*"id": *"\\(video_[0-9a-f]*\\)".*/\\1/p')
until curl -sS {base_url}/v1/videos/$id {auth} |
  grep -Eq '"status": *"(completed|failed)"'; do sleep 2; done
curl -sS -f {base_url}/v1/videos/$id/content {auth} -o video.mp4"""


def _python(base_url: str, fields: Mapping[str, Any], key: str | None) -> str:
    own = [f"    {name}={fields[name]!r}," for name in _SDK if name in fields]
    extra = {name: value for name, value in fields.items() if name not in _SDK}
    if extra:
        own.append(f"    extra_body={extra!r},")
    secret = f'os.environ["{KEY_VARIABLE}"]' if key is None else repr(key)
    lines = [
        *(["import os", ""] if key is None else []),
        "from openai import OpenAI",
        "",
        f'client = OpenAI(base_url="{base_url}/v1", api_key={secret})',
        "video = client.videos.create_and_poll(",
        *own,
        ")",
        'assert video.status == "completed", video.error',
        'client.videos.download_content(video.id).write_to_file("video.mp4")',
    ]
    return "\n".join(lines)


def _node(base_url: str, fields: Mapping[str, Any], key: str | None) -> str:
    body = json.dumps(fields, indent=2, ensure_ascii=False)
    secret = f"process.env.{KEY_VARIABLE}" if key is None else json.dumps(key)
    return f"""import {{ writeFile }} from "node:fs/promises";
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base_url}/v1", apiKey: {secret} }});
let video = await client.videos.create({body});
while (!["completed", "failed"].includes(video.status)) {{
  await new Promise((done) => setTimeout(done, 2000));
  video = await client.videos.retrieve(video.id);
}}
if (video.status === "failed") throw new Error(video.error.message);
const content = await client.videos.downloadContent(video.id);
await writeFile("video.mp4", Buffer.from(await content.arrayBuffer()));"""
