"""The identity that signs: made once and kept, or the operator's own, checked before it is used."""

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.media.identity import IDENTITY_FILE, ROOT_FILE, IdentityError, SigningIdentity
from gateway.settings import Provenance, Settings


def chain_of(folder: Path) -> str:
    return SigningIdentity(Settings(data_dir=folder)).loaded.chain


def test_it_is_made_once_and_its_key_is_only_ours_to_read(tmp_path: Path) -> None:
    first = chain_of(tmp_path)
    assert first == chain_of(tmp_path)
    assert stat.S_IMODE((tmp_path / IDENTITY_FILE).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([IDENTITY_FILE, ROOT_FILE])
    root = (tmp_path / ROOT_FILE).read_text()
    assert "PRIVATE" not in root
    assert first.endswith(root)


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert len(set(pool.map(chain_of, [tmp_path] * 6))) == 1


def own(tmp_path: Path, *, key_of: str = "a") -> Settings:
    """Settings with the certificates of `a` and the key of `key_of`, as files."""
    for name in ("a", "b"):
        chain_of(tmp_path / name)
        text = (tmp_path / name / IDENTITY_FILE).read_text()
        key, begin, chain = text.partition("-----BEGIN CERTIFICATE-----")
        (tmp_path / f"{name}.chain.pem").write_text(begin + chain)
        (tmp_path / f"{name}.key.pem").write_text(key)
    provenance = Provenance(
        certificates=str(tmp_path / "a.chain.pem"), private_key=str(tmp_path / f"{key_of}.key.pem")
    )
    return Settings(data_dir=tmp_path / "c", provenance=provenance)


def test_the_operators_own_is_used_and_none_is_made(tmp_path: Path) -> None:
    found = SigningIdentity(own(tmp_path))
    assert found.loaded.chain == (tmp_path / "a.chain.pem").read_text()
    assert found.loaded.algorithm == "es256"
    assert not (tmp_path / "c").exists()


def test_a_wrong_one_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="private_key is not the key of the first certificate"):
        _ = SigningIdentity(own(tmp_path, key_of="b")).loaded
    settings = own(tmp_path)
    (tmp_path / "a.key.pem").unlink()
    with pytest.raises(IdentityError, match=r"provenance\.private_key: no PEM file can be read"):
        _ = SigningIdentity(settings).loaded
    with pytest.raises(ValidationError, match=r"provenance\.certificates is missing"):
        Provenance(private_key="x")
