"""What the commands say of who signs."""

from pathlib import Path

from gateway.media.identity import ROOT_FILE, SigningIdentity
from gateway.settings import Settings
from tests.gateway.cli.conftest import run_command


def doctor(folder: Path, **settings: str) -> list[str]:
    env = {"ONEREEL_DATA_DIR": str(folder / "data"), **settings}
    shown = run_command(folder, "doctor", env=env)
    return [" ".join(line.split()) for line in shown.stdout.splitlines() if " provenance " in line]


def test_doctor_says_who_signs_and_where_the_root_is(tmp_path: Path) -> None:
    assert doctor(tmp_path) == ["ok provenance C2PA identity, made at the first start"]
    identity = SigningIdentity(Settings(data_dir=tmp_path / "data")).loaded
    (line,) = doctor(tmp_path)
    assert line.startswith("ok provenance C2PA signs as")
    assert identity.fingerprint[:16] in line
    assert str(tmp_path / "data" / ROOT_FILE) in line
    off, plug_in = doctor(
        tmp_path, ONEREEL_PROVENANCE__C2PA="off", ONEREEL_PROVENANCE__INVISIBLE="gateway.media.qim:factory"
    )
    assert off == "ok provenance C2PA is off: nothing is signed"
    assert plug_in == "ok provenance invisible mark by gateway.media.qim:factory"


def test_doctor_names_what_cannot_work(tmp_path: Path) -> None:
    _, plug_in = doctor(tmp_path, ONEREEL_PROVENANCE__INVISIBLE="not_installed:factory")
    assert "not_installed:factory cannot be loaded" in plug_in
    assert plug_in.startswith("fail")
    (line,) = doctor(
        tmp_path, ONEREEL_PROVENANCE__CERTIFICATES="/nowhere/chain.pem", ONEREEL_PROVENANCE__PRIVATE_KEY="x"
    )
    assert line.startswith("fail")
    assert "provenance.certificates: no PEM file can be read at /nowhere/chain.pem" in line


def test_serve_does_not_start_with_certificates_that_cannot_sign(tmp_path: Path) -> None:
    env = {
        "ONEREEL_DATA_DIR": str(tmp_path / "data"),
        "ONEREEL_PROVENANCE__CERTIFICATES": "/nowhere/chain.pem",
        "ONEREEL_PROVENANCE__PRIVATE_KEY": "/nowhere/key.pem",
    }
    started = run_command(tmp_path, "serve", env=env)
    assert started.returncode == 1
    assert "provenance.certificates: no PEM file can be read at /nowhere/chain.pem" in started.stderr
    assert "Traceback" not in started.stderr
