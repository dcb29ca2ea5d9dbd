"""The identity that signs: made once, kept, or the operator's own."""

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Provenance, Settings
from gateway.signing_identity import IDENTITY_FILE, IdentityError, SigningIdentity, identity_of, open_identity


def opened(folder: Path) -> SigningIdentity | None:
    return open_identity(Settings(data_dir=folder))


def test_it_is_made_once_and_only_ours_to_read(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert first is not None
    assert first == opened(tmp_path)
    assert first.algorithm == "es256"
    path = tmp_path / IDENTITY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert "PRIVATE" not in first.root
    assert first.chain.endswith(first.root)


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        assert len(set(pool.map(opened, [tmp_path] * 8))) == 1


def test_off_makes_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, provenance=Provenance(c2pa="off"))
    assert open_identity(settings) is None
    assert list(tmp_path.iterdir()) == []


def own(tmp_path: Path, *, key_of: str = "a") -> Settings:
    """Settings with a certificate of `a` and the key of `key_of`."""
    for name in ("a", "b"):
        made = opened(tmp_path / name)
        assert made is not None
        (tmp_path / f"{name}.chain.pem").write_text(made.chain)
        (tmp_path / f"{name}.key.pem").write_text(made.key)
    provenance = Provenance(
        certificate_chain=tmp_path / "a.chain.pem", private_key=tmp_path / f"{key_of}.key.pem"
    )
    return Settings(data_dir=tmp_path / "c", provenance=provenance)


def test_the_operators_own_is_used_as_it_is(tmp_path: Path) -> None:
    found = identity_of(own(tmp_path))()
    assert found is not None
    assert found.chain == (tmp_path / "a.chain.pem").read_text()
    assert not (tmp_path / "c").exists()


def test_a_wrong_one_stops_the_start_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="private_key is not the key of the first certificate"):
        identity_of(own(tmp_path, key_of="b"))
    settings = own(tmp_path)
    (tmp_path / "a.key.pem").unlink()
    with pytest.raises(IdentityError, match=r"provenance\.private_key: .* cannot be read"):
        identity_of(settings)
    with pytest.raises(ValidationError, match="belong together"):
        Provenance(private_key=tmp_path / "a.key.pem")
