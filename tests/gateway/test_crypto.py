import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.crypto import KEY_FILE, DecryptionError, SecretBox, new_key, open_secret_box
from gateway.settings import Security, Settings


def test_what_is_encrypted_comes_back() -> None:
    box = SecretBox([new_key()])
    token = box.encrypt(b"whsec_secret")
    assert b"secret" not in token
    assert box.decrypt(token) == b"whsec_secret"


def test_rotation_the_first_key_encrypts_and_all_decrypt() -> None:
    old, new = new_key(), new_key()
    token = SecretBox([old]).encrypt(b"value")
    assert SecretBox([new, old]).decrypt(token) == b"value"
    fresh = SecretBox([new, old]).encrypt(b"value")
    assert SecretBox([new]).decrypt(fresh) == b"value"
    with pytest.raises(DecryptionError, match="ENCRYPTION_KEYS"):
        SecretBox([new]).decrypt(token)


@pytest.mark.parametrize("keys", [[], ["short"], ["!" * 44]])
def test_unusable_keys_are_refused_at_once(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="encryption key"):
        SecretBox(keys)


def test_the_first_start_makes_a_key_file_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    token = open_secret_box(settings).encrypt(b"value")
    assert open_secret_box(settings).decrypt(token) == b"value"
    file = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(open_secret_box, [settings] * 16))
    token = boxes[0].encrypt(b"value")
    assert {box.decrypt(token) for box in boxes} == {b"value"}


def test_configured_keys_need_no_file(tmp_path: Path) -> None:
    key = new_key()
    settings = Settings(data_dir=tmp_path, security=Security(encryption_keys=(SecretStr(key),)))
    assert SecretBox([key]).decrypt(open_secret_box(settings).encrypt(b"value")) == b"value"
    assert not (tmp_path / KEY_FILE).exists()
