"""Backup of an embedded installation while it serves: the database first, then every byte that its rows may name.

Keys and identity go along, so a backup is as secret as the installation.
"""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.crypto import KEY_FILE
from gateway.media.identity import IDENTITY_FILE
from gateway.settings import Settings

DATABASE: Final = "onereel.db"
MANIFEST: Final = "manifest.json"
STORAGE: Final = "storage"
_PAGES: Final = 1000
"""Copied at a time: a writer that comes between is not kept waiting."""


class BackupError(Exception):
    """Why there is no backup, or nothing was restored. The message says what to do."""


def back_up(settings: Settings, target: Path) -> int:
    """Write a backup into the folder, which must not be there or be empty; answers its bytes. BackupError."""
    source = _sqlite_file(settings)
    if not source.exists():
        raise BackupError(f"There is no database at {source}.")
    _need_empty(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    _copy_database(source, target / DATABASE)
    storage = _folder(settings)
    if storage is not None and storage.exists():
        _copy_tree(storage, target / STORAGE)
    for name in (KEY_FILE, IDENTITY_FILE):
        if (settings.data_dir / name).exists():
            shutil.copy2(settings.data_dir / name, target / name)
    sizes = {str(path.relative_to(target)): path.stat().st_size for path in _files(target)}
    # last: a folder without it is no backup
    draft = target / f".{MANIFEST}"
    draft.write_text(json.dumps({"v": 1, "storage": settings.storage_url, "files": sizes}, indent=1))
    os.sync()
    draft.rename(target / MANIFEST)
    return sum(sizes.values())


def restore(settings: Settings, source: Path) -> int:
    """Put a backup into an empty data directory; answers how many files. BackupError."""
    try:
        files = json.loads((source / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        raise BackupError(
            f"{source} has no {MANIFEST}: it is no backup, or one that was not finished."
        ) from None
    wrong = [name for name, size in files.items() if _size(source / name) != size]
    if wrong:
        raise BackupError(f"{len(wrong)} files of the backup are missing or cut short, the first: {wrong[0]}")
    database, storage = _sqlite_file(settings), _folder(settings)
    if database.exists():
        raise BackupError(f"{database} is there already: restore into an empty data directory.")
    if any(name.startswith(f"{STORAGE}/") for name in files):
        if storage is None:
            raise BackupError(
                "The backup has files, and ONEREEL_STORAGE_URL names no folder to put them into."
            )
        _need_empty(storage)
        _copy_tree(source / STORAGE, storage)
    for name in (KEY_FILE, IDENTITY_FILE):
        if name in files:
            shutil.copy2(source / name, settings.data_dir / name)
    database.parent.mkdir(parents=True, exist_ok=True)
    # last: a server that starts finds the files of its rows
    draft = database.with_name(f".{database.name}.restored")
    shutil.copy2(source / DATABASE, draft)
    os.sync()
    draft.rename(database)
    return len(files)


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.execute("BEGIN")
        live.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchone()  # one snapshot: writers do not start it anew
        live.backup(copy, pages=_PAGES)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file
        if copy.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise BackupError("The copy of the database is damaged: check the disk, and the database itself.")


def _copy_tree(source: Path, target: Path) -> None:
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            shutil.copy2(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".tmp"]
        yield from (Path(root, name) for name in names)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _need_empty(folder: Path) -> None:
    if folder.exists() and any(path for path in folder.iterdir() if path.name != ".tmp"):
        raise BackupError(f"{folder} is not empty: name another folder.")


def _sqlite_file(settings: Settings) -> Path:
    url = settings.resolved_database_url
    if not url.startswith("sqlite"):
        raise BackupError(
            "This is for SQLite. PostgreSQL has pg_dump: see Backup and restore in docs/operations.md."
        )
    return Path(url.partition("///")[2])


def _folder(settings: Settings) -> Path | None:
    url = settings.resolved_storage_url
    return Path(url.removeprefix("file://")) if url.startswith("file://") else None
