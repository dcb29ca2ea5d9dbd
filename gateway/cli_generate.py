"""`onereel generate`: send, wait, save."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from gateway.cli_client import Answer, ServerClient
from gateway.cli_terminal import CommandError, say

Show = Callable[[str, float], None]
"""What happens now, and percent done."""

_POLL_MS: Final = 1000


def make_video(client: ServerClient, fields: dict[str, Any], image: str | None, output: Path | None) -> Path:
    """Run one video to its end and save it. Ctrl-C cancels it on the server too."""
    answer = _create(client, fields, image)
    video_id = str(answer.body["id"])
    out = output or Path(f"{video_id}.mp4")
    say(f"{video_id}  {answer.body['model']}  {answer.body['seconds']} s  {answer.body['size']}")
    try:
        with _progress() as show:
            _wait(client, answer, show)
            path = f"/v1/videos/{video_id}/content"
            client.download(path, out, lambda done, total: show("saving", 100 * done / total if total else 0))
    except KeyboardInterrupt:
        client.post(f"/v1/videos/{video_id}/cancel")
        raise CommandError(f"Cancelled {video_id}.") from None
    return out


def _create(client: ServerClient, fields: dict[str, Any], image: str | None) -> Answer:
    if image is None:
        return client.post("/v1/videos", fields)
    if image.startswith(("http://", "https://")):
        return client.post("/v1/videos", {**fields, "input_reference": {"image_url": image}})
    path = Path(image)
    if not path.is_file():
        raise CommandError(f"There is no file '{image}'.")
    form = {name: str(value) for name, value in fields.items()}
    return client.post_form("/v1/videos", form, {"input_reference": path})


def _wait(client: ServerClient, answer: Answer, show: Show) -> None:
    while answer.body["status"] in {"queued", "in_progress"}:
        show(answer.body["status"], float(answer.body["progress"]))
        wait_ms = answer.headers.get("openai-poll-after-ms", "")
        time.sleep((int(wait_ms) if wait_ms.isdecimal() else _POLL_MS) / 1000)
        answer = client.get(f"/v1/videos/{answer.body['id']}")
    if answer.body["status"] != "completed":
        error = answer.body.get("error") or {}
        raise CommandError(
            f"The video failed: {error.get('message', 'no reason given')} ({error.get('code')})"
        )


@contextmanager
def _progress() -> Iterator[Show]:
    """A bar on a terminal; otherwise one line per change of state."""
    if not sys.stderr.isatty():
        yield _line_by_line()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:11}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("queued", total=100)
        yield lambda what, percent: progress.update(task, description=what, completed=percent)


def _line_by_line() -> Show:
    last = ""

    def show(what: str, _percent: float) -> None:
        nonlocal last
        if what != last:
            say(what)
            last = what

    return show
