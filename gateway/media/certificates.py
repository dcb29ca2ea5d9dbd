"""X.509 behind the identity: what is made at the first start, and what an operator brings, checked before it signs.

Of the root that is made the key is thrown away at once: nobody can issue anything else under a root that viewers were
told to trust.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gateway.media.claim import SIGNING_PURPOSES
from gateway.media.identity import Algorithm, Identity, IdentityError

_LIFE: Final = timedelta(days=3650)
_HOUR: Final = timedelta(hours=1)  # clocks of viewers may be behind ours
_ROOT: Final = "onereel root"
_CURVES: Final[dict[str, tuple[Algorithm, hashes.HashAlgorithm]]] = {
    "secp256r1": ("es256", hashes.SHA256()),
    "secp384r1": ("es384", hashes.SHA384()),
    "secp521r1": ("es512", hashes.SHA512()),
}


def new_identity() -> bytes:
    """Make one (PEM): the key that signs, its certificate, and the root that issued it."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(_ROOT, root_key.public_key(), root_key)
    leaf = _certificate("onereel", key.public_key(), root_key)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, root_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Issued by the root, or the root itself where `key` is the root's own."""
    root, now = root_key.public_key(), datetime.now(UTC)
    is_root = key == root
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(_ROOT))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(is_root, 0 if is_root else None), critical=True)
        .add_extension(_usage(is_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root), critical=False)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier(SIGNING_PURPOSES[0])])
        made = made.add_extension(purpose, critical=False)
    return made.sign(root_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "onereel"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_root,
        key_cert_sign=is_root,
        crl_sign=is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def checked(certificates: str, private_key: str, names: tuple[str, str]) -> Identity:
    """Read a chain (leaf first) and its key; `names` are what an error calls them. IdentityError for whatever a C2PA
    verifier would refuse."""
    try:
        chain = x509.load_pem_x509_certificates(certificates.encode())
    except ValueError as error:
        raise IdentityError(f"{names[0]} is no PEM certificate chain: {error}") from None
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{names[1]} is no PEM private key without a password: {error}") from None
    if chain[0].public_key() != key.public_key():
        raise IdentityError(
            f"{names[1]} is not the key of the first certificate in {names[0]}: put the one that signs first"
        )
    _check_leaf(chain[0], names[0])
    algorithm, sign = _signing(key, names[1])
    return Identity(
        chain="".join(each.public_bytes(Encoding.PEM).decode() for each in chain),
        algorithm=algorithm,
        sign=sign,
        subject=chain[0].subject.rfc4514_string(),
        fingerprint=chain[-1].fingerprint(hashes.SHA256()).hex(),
        expires=min(each.not_valid_after_utc for each in chain),
    )


def _check_leaf(leaf: x509.Certificate, name: str) -> None:
    if leaf.issuer == leaf.subject:
        raise IdentityError(f"{name}: C2PA takes no self-signed certificate; have it issued under a root")
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise IdentityError(f"{name} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: renew it")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        fit = usage.digital_signature and {p.dotted_string for p in purposes} & set(SIGNING_PURPOSES)
    except x509.ExtensionNotFound:
        fit = False
    if not fit:
        raise IdentityError(
            f"{name}: the first certificate needs the key usage digitalSignature and the extended key usage "
            "emailProtection, documentSigning or C2PA claim signing"
        )


def _signing(key: Any, name: str) -> tuple[Algorithm, Callable[[bytes], bytes]]:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        algorithm, digest = _CURVES[key.curve.name]
        return algorithm, lambda data: key.sign(data, ec.ECDSA(digest))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", key.sign
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return "ps256", lambda data: key.sign(data, pss, hashes.SHA256())
    raise IdentityError(f"{name} is none of P-256, P-384, P-521, Ed25519 and RSA of 2048 bits or more")
