"""`onereel doctor`: what works, what does not, and the fix."""

import asyncio
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, NamedTuple

import click
from sqlalchemy import select

from gateway.cli_terminal import CommandError, load_settings, paint
from gateway.clock import Clock
from gateway.db import now_ms
from gateway.db_open import open_database
from gateway.lock import running_server
from gateway.media.identity import IDENTITY_FILE, SigningIdentity
from gateway.media.invisible import PlugInError
from gateway.media.invisible import load as load_plug_in
from gateway.migrate import HEAD, current_revision
from gateway.settings import Settings
from gateway.storage import Storage

Level = Literal["ok", "warn", "fail"]
_COLOURS: Final[dict[Level, str]] = {"ok": "green", "warn": "yellow", "fail": "red"}
_GIB: Final = 1024**3
_CODECS: Final = (("h264", "r"), ("libx264", "w"), ("hevc", "r"), ("vp9", "r"), ("aac", "r"))


class Finding(NamedTuple):
    """One line of the report."""

    level: Level
    text: str
    fix: str = ""


Examination = Callable[[Settings], list[Finding]]


def examine() -> bool:
    """Print one line per finding; False if any of them is a failure."""
    good = _report("python", _python())
    try:
        settings = load_settings()
    except CommandError as error:
        return _report("configuration", [Finding("fail", error.message, "correct the settings named above")])
    for name, examination in _EXAMINATIONS.items():
        try:
            findings = examination(settings)
        except Exception as error:  # whatever a broken part raises is the finding
            findings = [Finding("fail", f"{type(error).__name__}: {error}", _FIXES.get(name, ""))]
        good = _report(name, findings) and good
    return good


def _report(name: str, findings: list[Finding]) -> bool:
    for level, text, fix in findings:
        advice = f"  -> {fix}" if fix and level != "ok" else ""
        click.echo(f"{paint(f'{level:4}', _COLOURS[level])}  {name:14} {text}{advice}")
    return all(finding.level != "fail" for finding in findings)


def _python() -> list[Finding]:
    text = f"{sys.version.split()[0]}, onereel {version('onereel')}"
    if sys.version_info < (3, 11):  # noqa: UP036  (the reader may have forced an older one)
        return [Finding("fail", text, "install Python 3.11 or newer")]
    return [Finding("ok", text)]


def _configuration(settings: Settings) -> list[Finding]:
    named = os.environ.get("ONEREEL_CONFIG")
    path = Path(named or "onereel.toml")
    found = [
        Finding("ok", f"{path} read" if path.is_file() else "no onereel.toml, variables and defaults only")
    ]
    if named and not path.is_file():
        found = [Finding("fail", f"ONEREEL_CONFIG names {path}, which is not there", "correct the path")]
    if settings.admin_key and len(settings.admin_key.get_secret_value()) < 16:
        found.append(Finding("warn", "ONEREEL_ADMIN_KEY is short", "use 32 random characters"))
    found += [
        Finding(
            "warn", f"upstream {each.name}: {each.api_key_env} is not set", f"export {each.api_key_env}=..."
        )
        for each in settings.upstreams
        if each.api_key_env and not each.credential
    ]
    return found + _sharing(settings)


def _sharing(settings: Settings) -> list[Finding]:
    """What several servers on one PostgreSQL need in common; an embedded one has it in its data directory."""
    if not settings.resolved_database_url.startswith("postgresql"):
        return []
    own = []
    if settings.storage_url is None:
        own.append(("files lie", "ONEREEL_STORAGE_URL"))
    if not settings.security.encryption_keys:
        own.append(("the encryption key lies", "ONEREEL_SECURITY__ENCRYPTION_KEYS"))
    if settings.provenance.c2pa != "off" and settings.provenance.certificates is None:
        own.append(("the C2PA identity lies", "ONEREEL_PROVENANCE__CERTIFICATES and __PRIVATE_KEY"))
    return [
        Finding(
            "warn",
            f"{what} in this server's own data directory, which no other server sees",
            f"set {name} to the same value on every server",
        )
        for what, name in own
    ]


def _data_directory(settings: Settings) -> list[Finding]:
    path = settings.data_dir.absolute()
    if not path.exists():
        parent = next(each for each in path.parents if each.exists())
        if not os.access(parent, os.W_OK):
            return [Finding("fail", f"{path} cannot be made", "set ONEREEL_DATA_DIR to a writable folder")]
        return [Finding("ok", f"{path} (made at the first start)"), _free_disk(parent)]
    probe = path / f".doctor-{uuid.uuid4().hex}"
    probe.write_bytes(b"onereel")
    probe.unlink()
    return [Finding("ok", f"{path} can be written"), _free_disk(path)]


def _free_disk(path: Path) -> Finding:
    free = shutil.disk_usage(path).free / _GIB
    level: Level = "ok" if free >= 5 else "warn" if free >= 0.5 else "fail"
    return Finding(
        level, f"{free:.1f} GiB free on disk", "free some space, or keep videos in S3 (ONEREEL_STORAGE_URL)"
    )


def _database(settings: Settings) -> list[Finding]:
    url = settings.resolved_database_url
    if url.startswith("sqlite") and not Path(url.partition("///")[2]).exists():
        return [Finding("ok", "SQLite, made at the first start")]
    return asyncio.run(_open_database(settings))


async def _open_database(settings: Settings) -> list[Finding]:
    db = open_database(settings, Clock())
    try:
        revision = await db.read(current_revision)
        database_ms = await db.read(lambda conn: conn.execute(select(now_ms())).scalar_one())
    finally:
        await db.close()
    found = [Finding("ok", f"{db.dialect} at revision {revision}")]
    if revision is not None and revision > HEAD:
        text = f"{db.dialect} at revision {revision}, of a later release than this one ({HEAD})"
        found = [Finding("warn", text, "install that release here too")]
    elif revision != HEAD:
        text = f"{db.dialect} at revision {revision}, this release needs {HEAD}"
        found = [Finding("warn", text, "run `onereel db upgrade` (`serve` does it too)")]
    apart = abs(database_ms / 1000 - datetime.now(UTC).timestamp())
    if apart > 2:
        found.append(
            Finding("warn", f"the database's clock is {apart:.0f} s off", "run NTP on both machines")
        )
    return found


def _storage(settings: Settings) -> list[Finding]:
    if settings.storage_url is None and not settings.data_dir.exists():
        return [Finding("ok", "local folder, made at the first start")]
    return asyncio.run(_use_storage(settings))


async def _use_storage(settings: Settings) -> list[Finding]:
    storage = Storage(settings.resolved_storage_url)
    key, data = f"files/doctor-{uuid.uuid4().hex}", b"onereel"
    await storage.put_bytes(key, data, content_type="application/octet-stream")
    try:
        read = b"".join([chunk async for chunk in storage.stream(key)])
    finally:
        await storage.delete(key)
    if read != data:
        return [Finding("fail", "what was written was read back differently", "check the storage")]
    return [Finding("ok", f"{storage.url.partition('?')[0]}: written, read and deleted")]


def _media(_settings: Settings) -> list[Finding]:
    import av
    from PIL import features

    missing = []
    for name, mode in _CODECS:
        try:
            av.codec.Codec(name, mode)
        except ValueError:
            missing.append(name)
    if not features.check("webp"):
        missing.append("webp")
    if missing:
        return [
            Finding("warn", f"missing codecs: {', '.join(missing)}", "reinstall av and pillow from wheels")
        ]
    return [Finding("ok", f"PyAV {av.__version__} with every codec needed")]


def _provenance(settings: Settings) -> list[Finding]:
    found = _plug_in(settings.provenance.invisible)
    if settings.provenance.c2pa == "off":
        return [Finding("ok", "C2PA is off: nothing is signed"), *found]
    if settings.provenance.certificates is None and not (settings.data_dir / IDENTITY_FILE).exists():
        return [Finding("ok", "C2PA identity, made at the first start"), *found]
    signing = SigningIdentity(settings)
    identity = signing.loaded
    root = f"; root {identity.fingerprint[:16]}... in {signing.root_path}" if signing.root_path else ""
    level: Level = "ok" if identity.expires - datetime.now(UTC) > timedelta(days=30) else "warn"
    text = f"C2PA signs as {identity.subject} ({identity.algorithm}) until {identity.expires:%Y-%m-%d}{root}"
    return [
        Finding(level, text, "renew the certificates; without a timestamp their end ends what they signed"),
        *found,
    ]


def _plug_in(name: str | None) -> list[Finding]:
    if name is None:
        return []
    try:
        load_plug_in(name, b"")
    except PlugInError as error:
        return [Finding("fail", str(error), "install the package beside onereel, or correct the name")]
    return [Finding("ok", f"invisible mark by {name}")]


def _local_worker(settings: Settings) -> list[Finding]:
    if settings.local.enabled is False:
        return [Finding("ok", "switched off (local.enabled)")]
    try:
        text = f"torch {version('torch')}, diffusers {version('diffusers')}, device {settings.local.device}"
    except PackageNotFoundError as error:
        level: Level = "fail" if settings.local.enabled else "warn"
        fix = "pip install 'onereel[local]', or configure [[upstreams]]"
        return [Finding(level, f"not installed ({error.name})", fix)]
    return [Finding("ok", text)]


def _server(settings: Settings) -> list[Finding]:
    running = running_server(settings.data_dir)
    if running is None:
        return [_port(settings.host, settings.port)]
    where = f"process {running.pid} at {running.url}"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{running.url}/health/ready", timeout=5
        ):
            return [Finding("ok", f"{where} is ready")]
    except urllib.error.HTTPError as error:
        reason = error.read(2000).decode(errors="replace")
        return [Finding("warn", f"{where} runs but is not ready: {reason}", "wait, or read its log")]
    except (OSError, ValueError) as error:
        return [Finding("fail", f"{where} does not answer: {error}", "read its log, then restart it")]


def _port(host: str, port: int) -> Finding:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Finding("ok", f"not running; {host}:{port} is free")
    except OSError as error:
        return Finding(
            "fail", f"{host}:{port} is taken ({error.strerror})", "set ONEREEL_PORT to a free port"
        )


def _clock(_settings: Settings) -> list[Finding]:
    now = datetime.now(UTC)
    if now < datetime(2026, 1, 1, tzinfo=UTC):
        return [Finding("fail", f"{now:%Y-%m-%d %H:%M} UTC is in the past", "set the system clock (NTP)")]
    return [Finding("ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")]


_EXAMINATIONS: Final[dict[str, Examination]] = {
    "configuration": _configuration,
    "data directory": _data_directory,
    "database": _database,
    "storage": _storage,
    "media": _media,
    "provenance": _provenance,
    "local worker": _local_worker,
    "server": _server,
    "clock": _clock,
}
_FIXES: Final = {
    "data directory": "make it writable, or set ONEREEL_DATA_DIR",
    "database": "check ONEREEL_DATABASE_URL and that the server accepts connections",
    "storage": "check ONEREEL_STORAGE_URL and its credentials",
    "media": "reinstall: pip install --force-reinstall av pillow",
}
