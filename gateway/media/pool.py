"""A small pool of media workers: started when first needed, ended when idle, replaced when they break."""

import asyncio
import json
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import gateway
from gateway.media import MediaError, MediaFacts, SigningError, TooSlow
from gateway.media.claim import Claim, manifest
from gateway.media.identity import Identity
from gateway.settings import Limits

_PROBE_SECONDS: Final = 20.0
_PREVIEW_SECONDS: Final = 60.0
_MARK_SECONDS: Final = 60.0
_MARK_PIXELS: Final = 4_000_000  # a second; about a fifteenth of what one slow core manages
_MARK_LONGEST: Final = 3600.0
_SIGN_SECONDS: Final = 60.0
_SIGN_BYTES: Final = 5_000_000  # a second, for it is read three times over
_MANIFEST_BYTES: Final = 64 * 1024 * 1024  # what a claim and the claims of its ingredients may add
_TURNS: Final = 4  # per mark at work: the others fetch and put their files
_TASKS_PER_WORKER: Final = 1000
_MEMORY_PER_WORKER: Final = 512 * 1024 * 1024
_TRIES: Final = 2  # a worker may die for a reason that is not the file's
_ROOT: Final = str(Path(gateway.__file__).parent.parent)


class MediaTools:
    """Probing, previews and marks in at most `size` subprocesses, none of which outlives `idle_seconds` unused."""

    def __init__(self, limits: Limits, *, size: int = 2, idle_seconds: float = 60) -> None:
        self._bounds = {"pixels": limits.image_pixels, "seconds": limits.video_seconds}
        self._output_bytes = limits.video_bytes
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(size)
        marks = max(1, size - 1)  # a worker is left for what clients wait for
        self._marks = asyncio.Semaphore(marks)
        self._turns = marks * _TURNS
        self._idle: list[_Worker] = []
        self._timer: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    async def probe(self, path: Path, *, verify: bool = True) -> MediaFacts:
        """Tell what a file really is; `verify` False trusts a video's header (our own upstreams).

        MediaError for anything that is not an accepted image or video.
        """
        facts = await self._run("probe", _PROBE_SECONDS, path=str(path), verify=verify)
        return MediaFacts(**facts)

    async def thumbnail(self, path: Path, out: Path) -> None:
        """Write a WebP still of a video."""
        await self._run("thumbnail", _PREVIEW_SECONDS, path=str(path), out=str(out))

    async def spritesheet(self, path: Path, out: Path) -> None:
        """Write a JPEG grid of a video's frames."""
        await self._run("spritesheet", _PREVIEW_SECONDS, path=str(path), out=str(out))

    async def credentials(self, path: Path, media_type: str, roots: str | None) -> dict[str, Any] | None:
        """Tell what the file's Content Credentials say, for who trusts `roots` (PEM) too; None where it has none."""
        size = (await asyncio.to_thread(path.stat)).st_size
        seconds = _PROBE_SECONDS + size / _SIGN_BYTES
        told: dict[str, Any] | None = await self._run(
            "credentials", seconds, path=str(path), media_type=media_type, roots=roots
        )
        return told

    @contextmanager
    def mark_turn(self) -> Iterator[bool]:
        """Reserve the right to `mark` for a block; False when that many wait already: come back later."""
        granted = self._turns > 0
        self._turns -= granted
        try:
            yield granted
        finally:
            self._turns += granted

    async def mark(
        self,
        path: Path,
        out: Path,
        *,
        facts: MediaFacts,
        text: str | None = None,
        invisible: str | None = None,
        payload: bytes = b"",
    ) -> bool:
        """Write an MP4 of the video with `text` in its lower right corner, and marked with `payload` by the plug-in
        `invisible`; whether it is invisibly marked, which some pictures cannot be. `facts` as probed.

        MediaError when it cannot be marked, OSError when `out` cannot be written. What is left of `out` after an
        error or a cancellation is the caller's to remove: nobody writes to it any more.
        """
        pixels = facts.width * facts.height * (facts.frames or 0)
        seconds = min(_MARK_SECONDS + pixels / _MARK_PIXELS, _MARK_LONGEST)
        arguments: dict[str, Any] = {
            "path": str(path),
            "out": str(out),
            "output_bytes": self._output_bytes,
        }
        async with self._marks:
            invisibly = await self._run(
                "mark", seconds, **arguments, text=text, invisible=invisible, payload=payload.hex()
            )
        return bool(invisibly)

    async def sign(
        self,
        path: Path,
        out: Path,
        *,
        claim: Claim,
        identity: Identity,
        facts: MediaFacts,
        timestamp_url: str | None = None,
        parent: tuple[Path, MediaFacts] | None = None,
    ) -> None:
        """Write the video with the claim on it; `facts` as probed, `parent` the file it was made from, if that has a
        claim of its own.

        MediaError when the file is at fault, SigningError when we are. What is left of `out` is as with `mark`.
        """
        size = (await asyncio.to_thread(path.stat)).st_size
        arguments = {
            "path": str(path),
            "out": str(out),
            "output_bytes": size + _MANIFEST_BYTES,
            "definition": manifest(claim),
            "media_type": facts.media_type,
            "chain": identity.chain,
            "algorithm": identity.algorithm,
            "timestamp_url": timestamp_url,
            "parent": parent and str(parent[0]),
            "parent_type": parent and parent[1].media_type,
        }
        try:
            await self._run("sign", _SIGN_SECONDS + size / _SIGN_BYTES, identity.sign, **arguments)
        except (OSError, TooSlow) as error:
            raise SigningError(str(error)) from error

    async def close(self) -> None:
        """End every idle worker; those at work end with their task."""
        self._idle_seconds = 0
        self._end_idle()
        await asyncio.gather(*self._endings)

    async def _run(
        self, name: str, seconds: float, signing: Callable[[bytes], bytes] | None = None, **arguments: Any
    ) -> Any:
        task = {"name": name, "bounds": self._bounds, "cpu_seconds": int(seconds), **arguments}
        for _ in range(_TRIES):
            async with self._worker() as worker:
                answer = await worker.ask(task, seconds, signing)
            if answer is not None:
                break
        else:
            raise MediaError("the file breaks the decoder")
        if "failure" in answer:
            raise OSError(answer["failure"])
        if "error" in answer:
            raise MediaError(answer["error"])
        return answer["result"]

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator["_Worker"]:
        async with self._slots:
            worker = self._idle.pop() if self._idle else await _Worker.start()
            try:
                yield worker
            finally:
                self._give_back(worker)

    def _give_back(self, worker: "_Worker") -> None:
        if worker.usable and self._idle_seconds > 0:
            self._idle.append(worker)
        else:
            self._end(worker)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end_idle)

    def _end_idle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, worker: "_Worker") -> None:
        worker.kill()
        ending = asyncio.create_task(worker.end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


class _Worker:
    """One subprocess; used by one task at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._left = _TASKS_PER_WORKER
        self.usable = True

    @classmethod
    async def start(cls) -> "_Worker":
        """Start one with an empty environment: it reads strangers' files. OSError when that is impossible."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # not from the current folder
                "-m",
                "gateway.media.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": _ROOT, "PATH": os.defpath},
            ),
        )

    async def ask(
        self, task: dict[str, Any], seconds: float, signing: Callable[[bytes], bytes] | None = None
    ) -> dict[str, Any] | None:
        """Run one task; None when the process died over it. TooSlow when it takes too long.

        `signing` answers what the worker asks to have signed.
        """
        usable, self.usable = self.usable, False  # until an answer came: a cancelled task leaves it unusable
        try:
            async with asyncio.timeout(seconds):
                answer = await self._exchange(task)
                while answer is not None and signing is not None and "to_sign" in answer:
                    signature = await asyncio.to_thread(signing, b64decode(answer["to_sign"]))
                    answer = await self._exchange({"signature": b64encode(signature).decode()})
        except TimeoutError:
            raise TooSlow("the file takes too long to decode") from None
        if answer is None:
            return None
        self._left -= 1
        self.usable = usable and self._left > 0 and answer["rss"] < _MEMORY_PER_WORKER
        return answer

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """One line there, one line back; None when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the worker was started with pipes")
        with suppress(ConnectionError):
            stdin.write(json.dumps(message).encode() + b"\n")
            await stdin.drain()
            if line := await stdout.readline():
                answer: dict[str, Any] = json.loads(line)
                return answer
        return None

    def kill(self) -> None:
        """End the process at once: no task of its own is worth keeping."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Wait for the end of a killed process."""
        await self._process.wait()
