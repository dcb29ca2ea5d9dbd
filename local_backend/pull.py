"""`python -m local_backend.pull NAME`: bring a model's weights from the Hugging Face hub, and know that they are whole.

Only safetensors, their configuration and tokenizers are taken; never code or pickles. Files come beside their place,
are compared with the checksums that the hub states, and appear together. An interrupted pull goes on where it was.
"""

import argparse
import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from local_backend.folders import folder_of
from providers.presets import Preset, all_presets, preset

MANIFEST: Final = "onereel.json"
_INDEX: Final = "model_index.json"
_TAKEN: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
_SPARE_BYTES: Final = 1 << 30


class PullError(Exception):
    """Nothing was put in place; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a repo at a commit: bytes, SHA-256 where the hub states it, git's own hash where it does not."""

    repo: str
    commit: str
    name: str
    size: int
    sha256: str | None
    git_sha1: str | None


def pull(model: Preset, models_dir: Path, *, accept_licence: bool = False) -> Path:
    """The folder of the weights, pulled now if they were not there. PullError."""
    folder = folder_of(model, models_dir)
    if model.weights.origin != "hub" or model.weights.repo is None:
        raise PullError(f"{model.id} has its weights in {folder}: there is nothing to pull.")
    _say_licence(model, accepted=accept_licence)
    models_dir.mkdir(parents=True, exist_ok=True)
    with _alone(models_dir / f".{folder.name}.lock", model.id):
        if folder.exists():
            raise PullError(f"{folder} is there already; --check compares it with its checksums.")
        partial = models_dir / f".{folder.name}.partial"
        parts = _parts(model)
        _need_space(partial, parts, models_dir)
        for number, (place, wanted) in enumerate(parts, 1):
            _say(f"[{number}/{len(parts)}] {wanted.name}  {wanted.size / 1e6:,.1f} MB")
            _bring(partial / place, wanted)
        _write_manifest(partial, parts)
        for leftover in partial.rglob(".cache"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.rename(folder)
    return folder


def check(model: Preset, models_dir: Path) -> list[str]:
    """What is wrong with pulled weights, file by file; empty when all is as it was pulled. PullError without them."""
    folder = folder_of(model, models_dir)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except OSError:
        raise PullError(f"{folder} was not pulled by onereel: it has no {MANIFEST}.") from None
    problems: list[str] = []
    for name, stated in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != stated["size"] or _sha256(path) != stated["sha256"]:
            problems.append(f"{name} is not what was pulled")
    return problems


def _parts(model: Preset) -> list[tuple[Path, Wanted]]:
    """Where each file belongs, below the partial folder: those of the pipeline, then those of its LoRA."""
    weights = model.weights
    parts = [(Path(), each) for each in _of_pipeline(str(weights.repo), weights.revision)]
    few = weights.distilled
    if few is not None:
        files = _listed(few.repo, few.revision)
        for name in filter(None, (few.file, few.file_2)):
            if name not in files:
                raise PullError(f"{few.repo} has no {name} at {few.revision}.")
            parts.append((Path("distilled"), files[name]))
    return parts


def _of_pipeline(repo: str, revision: str) -> list[Wanted]:
    """The files of the components that its index names; a repo may hold much else."""
    files = _listed(repo, revision)
    if _INDEX not in files:
        raise PullError(f"{repo} has no {_INDEX}: it is no repo of a diffusers pipeline.")
    index: Mapping[str, Any] = json.loads(_downloaded(files[_INDEX]).read_text())
    named = {name for name, value in index.items() if isinstance(value, list) and value[0]}
    chosen = [each for each in files.values() if _belongs(each.name, named)]
    for name in sorted(named):
        inside = [PurePosixPath(each) for each in files if PurePosixPath(each).parts[0] == name]
        pickled = [each for each in inside if each.suffix in {".bin", ".pt", ".pth", ".ckpt"}]
        if pickled and not any(each.suffix == ".safetensors" for each in inside):
            raise PullError(
                f"{repo} has {name} as {pickled[0].suffix} only: onereel loads safetensors alone."
            )
    return chosen


def _belongs(name: str, components: set[str]) -> bool:
    path = PurePosixPath(name)
    if len(path.parts) == 1:
        return name == _INDEX or path.stem.upper().startswith("LICENSE")
    variant = path.suffix == ".safetensors" and any(
        f".{kind}" in path.stem for kind in ("fp16", "bf16", "ema")
    )
    return path.parts[0] in components and path.suffix in _TAKEN and not variant


def _listed(repo: str, revision: str) -> dict[str, Wanted]:
    with _hub(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = str(info.sha)
    return {
        each.rfilename: Wanted(
            repo, commit, each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else None, each.blob_id
        )
        for each in info.siblings or ()
    }


def _downloaded(wanted: Wanted, place: Path | None = None) -> Path:
    with _hub(wanted.repo, wanted.commit):
        return Path(hf_hub_download(wanted.repo, wanted.name, revision=wanted.commit, local_dir=place))


@contextmanager
def _hub(repo: str, revision: str) -> Iterator[None]:
    try:
        yield
    except RepositoryNotFoundError:
        raise PullError(f"The hub has no {repo}, or it asks for a token: set HF_TOKEN.") from None
    except RevisionNotFoundError:
        raise PullError(f"{repo} has no revision {revision}.") from None
    except Exception as error:  # its HTTP client has errors of its own
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PullError(f"The hub failed: {reason}. Pull again to go on.") from None


def _bring(place: Path, wanted: Wanted) -> None:
    """Download what is not there yet and compare it with what the hub says it is."""
    path = place / wanted.name
    if path.is_file() and _is(path, wanted):
        return
    path.unlink(missing_ok=True)
    path = _downloaded(wanted, place)
    if not _is(path, wanted):
        path.unlink()
        raise PullError(f"{wanted.name} is not what the hub says it is: its checksum differs. Pull again.")


def _is(path: Path, wanted: Wanted) -> bool:
    if path.stat().st_size != wanted.size:
        return False
    if wanted.sha256 is not None:
        return _sha256(path) == wanted.sha256
    return wanted.git_sha1 is None or _git_sha1(path) == wanted.git_sha1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_sha1(path: Path) -> str:
    """As git names a file; it is small, or it would be in LFS."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _write_manifest(partial: Path, parts: Sequence[tuple[Path, Wanted]]) -> None:
    files = {
        str(place / wanted.name): {
            "repo": wanted.repo,
            "commit": wanted.commit,
            "size": wanted.size,
            "sha256": wanted.sha256 or _sha256(partial / place / wanted.name),
        }
        for place, wanted in parts
    }
    (partial / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")


def _need_space(partial: Path, parts: Sequence[tuple[Path, Wanted]], models_dir: Path) -> None:
    missing = sum(wanted.size for place, wanted in parts if not (partial / place / wanted.name).is_file())
    free = shutil.disk_usage(models_dir).free
    if missing + _SPARE_BYTES > free:
        raise PullError(f"{missing / 1e9:.1f} GB are needed in {models_dir}, {free / 1e9:.1f} GB are free.")


@contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """One pull of a model at a time."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PullError(f"{name} is being pulled already.") from None
        yield
        lock.unlink(missing_ok=True)


def _say_licence(model: Preset, *, accepted: bool) -> None:
    limits = model.weights.commercial_limits
    _say(f"{model.id}: {model.licence or 'licence unknown'}. {limits or ''}".strip())
    if limits is not None and not accepted:
        raise PullError("Read the licence, then pull with --accept-licence.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (the command's messages)


def main() -> None:
    """Pull or check one model; the folder goes to stdout."""
    parser = argparse.ArgumentParser(prog="onereel models pull")
    parser.add_argument("name")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--own-models", type=Path)
    parser.add_argument("--accept-licence", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    own = [] if options.own_models is None else json.loads(options.own_models.read_text())
    known = {**all_presets(), **{each.id: each for each in map(preset, own)}}
    if options.name not in known:
        sys.exit(f"There is no model '{options.name}'; there are {', '.join(known)}.")
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        answer = _run(known[options.name], options)
    except PullError as error:
        sys.exit(str(error))
    print(answer)  # noqa: T201  (the command's answer)


def _run(model: Preset, options: argparse.Namespace) -> str:
    if not options.check:
        return str(pull(model, options.models_dir, accept_licence=options.accept_licence))
    problems = check(model, options.models_dir)
    if problems:
        raise PullError("; ".join(problems))
    return f"{model.id}: every file is as it was pulled."


if __name__ == "__main__":
    main()
