"""What a file says of its origin, for whom, and what is seen of a change."""

from pathlib import Path

import pytest

from gateway.media import MediaError
from gateway.media.identity import SigningIdentity, trusted_roots
from gateway.media.pool import MediaTools
from gateway.settings import Provenance, Settings
from tests.gateway.media_files import make_video
from tests.gateway.test_signing import CLAIM
from tests.gateway.test_signing import media as media_tools

media = media_tools
TYPE = "video/mp4"


async def signed(media: MediaTools, settings: Settings) -> Path:
    identity = SigningIdentity(settings).loaded
    path, out = make_video(settings.data_dir / "a.mp4", frames=4), settings.data_dir / "out.mp4"
    await media.sign(path, out, claim=CLAIM, identity=identity, facts=await media.probe(path))
    return out


async def test_who_trusts_the_root_is_told_so(media: MediaTools, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert trusted_roots(settings) is None
    out = await signed(media, settings)
    roots = trusted_roots(settings)
    assert roots
    told = await media.credentials(out, TYPE, roots)
    assert told
    assert (told["state"], told["software"], told["time_stamp"]) == ("trusted", "onereel", None)
    assert told["signer"]
    (made,) = [each for each in told["actions"] if each["action"] == "c2pa.created"]
    assert made["source"] == "trainedAlgorithmicMedia"
    assert made["description"] == "Made by the model acme/fast."
    unknown = await media.credentials(out, TYPE, None)
    assert unknown
    assert unknown["state"] == "valid"


async def test_roots_that_an_operator_brought(media: MediaTools, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    out = await signed(media, settings)
    chain, key = SigningIdentity(settings).loaded.chain, (tmp_path / "c2pa.pem").read_text()
    brought = Settings(data_dir=tmp_path / "b", provenance=Provenance(certificates=chain, private_key=key))
    told = await media.credentials(out, TYPE, trusted_roots(brought))
    assert told
    assert told["state"] == "trusted"
    away = Provenance(certificates=str(tmp_path / "none.pem"), private_key=key)
    assert trusted_roots(Settings(data_dir=tmp_path / "c", provenance=away)) is None


async def test_a_changed_file_is_seen(media: MediaTools, tmp_path: Path) -> None:
    out = await signed(media, Settings(data_dir=tmp_path))
    data = bytearray(out.read_bytes())
    data[data.rindex(b"mdat") + 40] ^= 1
    out.write_bytes(data)
    told = await media.credentials(out, TYPE, None)
    assert told
    assert told["state"] == "invalid"


async def test_files_that_say_nothing(media: MediaTools, tmp_path: Path) -> None:
    assert await media.credentials(make_video(tmp_path / "a.mp4", frames=4), TYPE, None) is None
    (tmp_path / "b.mp4").write_bytes(b"no video at all")
    with pytest.raises(MediaError):
        await media.credentials(tmp_path / "b.mp4", TYPE, None)
