"""Signing a file: by every kind of key an operator may bring, with a time, and without asking what the file names."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from c2pa import Builder, C2paSigningAlg, Context, Reader, Signer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.media import SigningError
from gateway.media.claim import SIGNING_PURPOSES, Claim, manifest
from gateway.media.identity import Identity, IdentityError, SigningIdentity
from gateway.media.pool import MediaTools
from gateway.media.sniff import has_claim
from gateway.settings import Limits, Provenance, Settings
from providers.contract import Operation
from tests.gateway.media_files import make_video

KEYS: dict[str, Any] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 3072),
}
CLAIM = Claim("video_1", "acme/fast", Operation.GENERATE, 1_790_000_000_000)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
async def media() -> AsyncIterator[MediaTools]:
    tools = MediaTools(Limits())
    yield tools
    await tools.close()


def issued(
    name: str, key: Any, issuer: str, issuer_key: Any, *, purpose: str | None = None, days: int = 30
) -> x509.Certificate:
    """A certificate; of a root where no purpose is named."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
    now, root = datetime.now(UTC), purpose is None
    flags = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = x509.KeyUsage(
        digital_signature=not root,
        key_cert_sign=root,
        crl_sign=root,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(flags, False),
    )
    made = (
        x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now - 60 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(root, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if purpose is not None:
        critical = purpose == ExtendedKeyUsageOID.TIME_STAMPING.dotted_string
        made = made.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), critical=critical)
    if isinstance(issuer_key, ed25519.Ed25519PrivateKey):
        return made.sign(issuer_key, None)
    wide = isinstance(issuer_key, ec.EllipticCurvePrivateKey) and issuer_key.key_size > 384
    return made.sign(issuer_key, hashes.SHA512() if wide else hashes.SHA256())


def pem(*parts: Any) -> str:
    """Certificates and keys as text."""
    return "".join(
        part.public_bytes(Encoding.PEM).decode()
        if isinstance(part, x509.Certificate)
        else part.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for part in parts
    )


def brought(tmp_path: Path, key: Any, *chain: x509.Certificate) -> Identity:
    provenance = Provenance(certificates=pem(*chain), private_key=pem(key))
    return SigningIdentity(Settings(data_dir=tmp_path, provenance=provenance)).loaded


def judged(path: Path, *roots: x509.Certificate) -> tuple[str, str]:
    """The state of a file for who trusts these roots, and all that was found."""
    trust = {"user_anchors": pem(*roots), "trust_config": "\n".join(SIGNING_PURPOSES)}
    context = Context.from_dict({"trust": trust, "verify": {"verify_trust": True}})
    with Reader(path, context=context) as reader:
        return str(reader.get_validation_state()), json.dumps(reader.get_validation_results())


@pytest.mark.parametrize("purpose", SIGNING_PURPOSES)
@pytest.mark.parametrize("algorithm", KEYS)
async def test_what_an_operator_may_bring_signs(
    media: MediaTools, tmp_path: Path, algorithm: str, purpose: str
) -> None:
    root_key, key = KEYS[algorithm](), KEYS[algorithm]()
    root = issued("root", root_key, "root", root_key)
    identity = brought(tmp_path, key, issued("leaf", key, "root", root_key, purpose=purpose), root)
    assert identity.algorithm == algorithm
    path, out = make_video(tmp_path / "a.mp4", frames=4), tmp_path / "out.mp4"
    await media.sign(path, out, claim=CLAIM, identity=identity, facts=await media.probe(path))
    assert judged(out, root)[0] == "Trusted"
    assert (await media.probe(out)).frames == 4


@pytest.mark.parametrize(
    ("purpose", "issuer", "days", "wrong"),
    [
        (SIGNING_PURPOSES[0], "leaf", 30, "no self-signed certificate"),
        (SIGNING_PURPOSES[0], "root", -1, "expired on"),
        ("1.3.6.1.5.5.7.3.1", "root", 30, "extended key usage"),
    ],
)
def test_what_no_viewer_would_accept_is_refused_at_once(
    tmp_path: Path, purpose: str, issuer: str, days: int, wrong: str
) -> None:
    key = KEYS["es256"]()
    with pytest.raises(IdentityError, match=wrong):
        brought(tmp_path, key, issued("leaf", key, issuer, key, purpose=purpose, days=days))


@pytest.mark.parametrize(
    ("operation", "source"),
    [
        (Operation.GENERATE, "trainedAlgorithmicMedia"),
        (Operation.REMIX, "trainedAlgorithmicMedia"),
        (Operation.EDIT, "compositeWithTrainedAlgorithmicMedia"),  # of a film that no model may have made
        (Operation.EXTEND, "compositeWithTrainedAlgorithmicMedia"),
    ],
)
async def test_a_claim_says_how_it_came_about(
    media: MediaTools, tmp_path: Path, operation: Operation, source: str
) -> None:
    identity = SigningIdentity(Settings(data_dir=tmp_path)).loaded
    path, out = make_video(tmp_path / "a.mov", container="mov", frames=4), tmp_path / "out.mov"
    claim = replace(CLAIM, operation=operation)
    await media.sign(path, out, claim=claim, identity=identity, facts=await media.probe(path))
    with Reader(out) as reader:
        active = reader.get_active_manifest() or {}
    assert active["title"] == "video_1.mp4"
    (created,) = next(
        each["data"]["actions"] for each in active["assertions"] if each["label"].startswith("c2pa.actions")
    )
    assert created["digitalSourceType"].rpartition("/")[2] == source
    assert created["when"] == "2026-09-21T14:13:20Z"


async def test_an_identity_that_cannot_sign_is_our_fault(media: MediaTools, tmp_path: Path) -> None:
    mine = SigningIdentity(Settings(data_dir=tmp_path / "mine")).loaded
    other = SigningIdentity(Settings(data_dir=tmp_path / "other")).loaded
    mixed = Identity(mine.chain, "es256", other.sign, mine.subject, mine.fingerprint, mine.expires)
    path, out = make_video(tmp_path / "a.mp4", frames=4), tmp_path / "out.mp4"
    with pytest.raises(SigningError, match="signature"):
        await media.sign(path, out, claim=CLAIM, identity=mixed, facts=await media.probe(path))
    assert not out.exists()


async def test_an_address_that_a_file_names_is_not_asked(media: MediaTools, tmp_path: Path) -> None:
    identity = SigningIdentity(Settings(data_dir=tmp_path)).loaded
    path, named, out = make_video(tmp_path / "a.mp4"), tmp_path / "named.mp4", tmp_path / "out.mp4"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        definition = manifest(CLAIM)
        with (
            Signer.from_callback(identity.sign, C2paSigningAlg.ES256, identity.chain) as signer,
            Builder.from_json(definition) as builder,
        ):
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{listening.getsockname()[1]}/manifest.c2pa")
            with path.open("rb") as source, named.open("w+b") as written:
                builder.sign(signer, "video/mp4", source, written)
        assert b"/manifest.c2pa" in named.read_bytes()
        facts = await media.probe(named)
        parent = (named, facts)
        await media.sign(named, out, claim=CLAIM, identity=identity, facts=facts, parent=parent)
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()


def box(kind: bytes, body: bytes, *, long: bool = False) -> bytes:
    if long:
        return (1).to_bytes(4, "big") + kind + (16 + len(body)).to_bytes(8, "big") + body
    return (8 + len(body)).to_bytes(4, "big") + kind + body


CARRIED = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(40)


@pytest.mark.parametrize(
    ("data", "carried"),
    [
        (box(b"ftyp", b"isom") + box(b"uuid", CARRIED), True),
        (
            box(b"ftyp", b"isom", long=True) + box(b"mdat", bytes(100)) + box(b"uuid", CARRIED, long=True),
            True,
        ),
        (box(b"ftyp", b"isom") + box(b"uuid", bytes(56)) + box(b"mdat", box(b"uuid", CARRIED)), False),
        (box(b"ftyp", b"isom") + bytes(4) + b"mdat" + box(b"uuid", CARRIED), False),  # reaches to the end
        (box(b"ftyp", b"isom") + b"\0\0\0\3uuid" + CARRIED, False),
        (b"\x1aE\xdf\xa3webm", False),
        (b"", False),
    ],
)
def test_a_claim_is_known_by_its_box(tmp_path: Path, data: bytes, *, carried: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert has_claim(path) is carried


@contextmanager
def time_stamping(folder: Path, key: Any, chain: tuple[x509.Certificate, ...]) -> Iterator[str]:
    """A time-stamping server (RFC 3161) around OpenSSL's; its address."""
    (folder / "tsa.pem").write_text(pem(chain[0]))
    (folder / "tsa.key").write_text(pem(key))
    (folder / "tsa.chain").write_text(pem(*chain))
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\nserial={folder}/serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256,sha384,"
        "sha512\naccuracy=secs:1\nordering=no\ntsa_name=no\ness_cert_id_chain=no\ness_cert_id_alg=sha256\n"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = folder / "query.tsq"
            query.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            command = ["openssl", "ts", "-reply", "-section", "tsa", "-config", f"{folder}/tsa.cnf"]
            command += ["-queryfile", str(query), "-signer", f"{folder}/tsa.pem"]
            command += ["-inkey", f"{folder}/tsa.key", "-chain", f"{folder}/tsa.chain"]
            done = subprocess.run(command, capture_output=True, check=False)
            self.send_response(200 if done.returncode == 0 else 500)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(done.stdout)))
            self.end_headers()
            self.wfile.write(done.stdout)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="OpenSSL's command line is the time-stamping server"
)
async def test_a_time_stamping_server_is_asked_for_the_time(media: MediaTools, tmp_path: Path) -> None:
    root_key, key, clock_key = (KEYS["es256"]() for _ in range(3))
    root = issued("root", root_key, "root", root_key)
    leaf = issued("leaf", key, "root", root_key, purpose=SIGNING_PURPOSES[0])
    stamping = ExtendedKeyUsageOID.TIME_STAMPING.dotted_string
    clock = issued("clock", clock_key, "root", root_key, purpose=stamping)
    identity = brought(tmp_path, key, leaf, root)
    path, out = make_video(tmp_path / "a.mp4", frames=4), tmp_path / "out.mp4"
    with time_stamping(tmp_path, clock_key, (clock, root)) as url:
        facts = await media.probe(path)
        await media.sign(path, out, claim=CLAIM, identity=identity, facts=facts, timestamp_url=url)
    state, found = judged(out, root)
    assert (state, "timeStamp.validated" in found) == ("Trusted", True)
    with Reader(out) as reader:
        signature = (reader.get_active_manifest() or {})["signature_info"]
    assert datetime.fromisoformat(signature["time"]) > datetime.now(UTC) - DAY
