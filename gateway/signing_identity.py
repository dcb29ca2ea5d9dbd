"""Who signs what we generate: a certificate chain and its key, given by the operator or made at the first start."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.settings import Settings

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

IDENTITY_FILE: Final = "signing-identity.pem"
"""Key, leaf and root in one file of the data directory, so that it is there whole or not at all."""

_ROOT_DAYS: Final = 20 * 365
_LEAF_DAYS: Final = 10 * 365
_CURVES: Final = {256: "es256", 384: "es384", 521: "es512"}
_KEY_MARK: Final = "-----BEGIN CERTIFICATE-----"


class IdentityError(ValueError):
    """The certificate or the key cannot be used; the message names the setting."""


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """PEM texts: `chain` is the signer's certificate and those that vouch for it, `key` its private key.

    `algorithm` is C2PA's name for how that key signs.
    """

    chain: str
    key: str
    algorithm: str
    timestamp_url: str | None = None

    @property
    def root(self) -> str:
        """The last certificate of the chain: who trusts it trusts the signatures."""
        return _KEY_MARK + self.chain.rpartition(_KEY_MARK)[2]


def identity_of(settings: Settings) -> Callable[[], SigningIdentity | None]:
    """What opens the identity when the first video is signed. IdentityError at once for a wrong one of the operator's."""
    opened = cache(partial(open_identity, settings))
    if settings.provenance.certificate_chain is not None:
        opened()
    return opened


def open_identity(settings: Settings) -> SigningIdentity | None:
    """The identity to sign with, None where nothing is signed. IdentityError."""
    provenance = settings.provenance
    if provenance.c2pa == "off":
        return None
    if provenance.certificate_chain is not None and provenance.private_key is not None:
        chain = _text("provenance.certificate_chain", provenance.certificate_chain)
        key = _text("provenance.private_key", provenance.private_key)
    else:
        chain, key = _own(settings.data_dir / IDENTITY_FILE)
    return SigningIdentity(chain, key, _checked(chain, key), provenance.timestamp_url)


def _text(setting: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"{setting}: {path} cannot be read: {error}") from None


def _own(path: Path) -> tuple[str, str]:
    """Read the file, made now if there is none. Of processes that start at once, one makes it for all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(_made())
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink(missing_ok=True)
    key, mark, chain = path.read_text().partition(_KEY_MARK)
    return mark + chain, key


def _checked(chain: str, key: str) -> str:
    """How the key signs. The first certificate must be the key's, and valid now."""
    from cryptography import x509  # noqa: PLC0415  (9 MB and 40 ms that only a start pays which signs)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        private: Any = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"provenance.certificate_chain and private_key must be PEM: {error}") from None
    if private.public_key() != leaf.public_key():
        raise IdentityError("provenance.private_key is not the key of the first certificate in the chain")
    if leaf.not_valid_after_utc < datetime.now(UTC):
        raise IdentityError(f"the signing certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    return _algorithm(private)


def _algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size in _CURVES:
        return _CURVES[key.key_size]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise IdentityError("provenance.private_key must be P-256, P-384, P-521, Ed25519 or RSA")


def _made() -> str:
    """A key, its certificate and a root of our own, as C2PA asks for them: ES256, for signing alone."""
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("onereel root", root_key.public_key(), _ROOT_DAYS, root_key)
    leaf = _certificate("onereel", key.public_key(), _LEAF_DAYS, root_key, root)
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    parts = (private, leaf.public_bytes(s.Encoding.PEM), root.public_bytes(s.Encoding.PEM))
    return b"".join(parts).decode()


def _certificate(
    name: str, public_key: Any, days: int, issuer_key: Any, issuer: "Certificate | None" = None
) -> "Certificate":
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "onereel"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.now(UTC) - timedelta(minutes=5)  # clocks differ
    is_root = issuer is None
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False)  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, SHA256())
