"""Who signs: the certificate chain and the key behind every C2PA claim. The key never leaves the gateway's process.

Without one in the settings the first start makes one in the data directory, for this installation alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from gateway.crypto import make_file_once
from gateway.redaction import is_secret
from gateway.settings import Settings

IDENTITY_FILE: Final = "c2pa.pem"
ROOT_FILE: Final = "c2pa-root.pem"

Algorithm = Literal["es256", "es384", "es512", "ps256", "ed25519"]

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"


class IdentityError(ValueError):
    """The identity cannot sign; the message names the setting or file, and the fix."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A checked identity. `chain` is PEM, leaf first; `sign` gives the signature of bytes under `algorithm`."""

    chain: str
    algorithm: Algorithm
    sign: Callable[[bytes], bytes]
    subject: str
    fingerprint: str  # SHA-256 of the chain's last certificate, hexadecimal
    expires: datetime


class SigningIdentity:
    """The identity of one installation, read when first needed. IdentityError, OSError if it can be neither found nor
    made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.provenance
        self._path = settings.data_dir / IDENTITY_FILE
        self.root_path: Path | None = None
        if self._settings.certificates is None:
            self.root_path = self._path.with_name(ROOT_FILE)
            self._make_files(self.root_path)

    @cached_property
    def loaded(self) -> Identity:
        """Read and check it. IdentityError."""
        # 9 MB and 40 ms: paid by the first signature, not by every start
        from gateway.media.certificates import checked  # noqa: PLC0415

        settings = self._settings
        if settings.certificates is None or settings.private_key is None:
            text, name = _read(self._path, str(self._path)), str(self._path)
            return checked(text, text, (name, name))
        names = ("provenance.certificates", "provenance.private_key")
        certificates = _pem(settings.certificates, names[0])
        return checked(certificates, _pem(settings.private_key.get_secret_value(), names[1]), names)

    def _make_files(self, root_path: Path) -> None:
        if not self._path.exists():
            from gateway.media.certificates import new_identity  # noqa: PLC0415  (see loaded)

            make_file_once(self._path, new_identity())
        if not root_path.exists():
            _, begin, root = _read(self._path, str(self._path)).rpartition(_BEGIN)
            make_file_once(root_path, (begin + root).encode(), 0o644)


def _pem(value: str, name: str) -> str:
    """Give what is PEM already, or read it. What is neither may be a key itself, and is not repeated."""
    return value if "-----BEGIN" in value else _read(Path(value), name, told=not is_secret(name))


def _read(path: Path, name: str, *, told: bool = True) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        where = f"at {path} ({error})" if told else "there, and the value is no PEM itself"
        raise IdentityError(f"{name}: no PEM file can be read {where}") from None


def trusted_roots(settings: Settings) -> str | None:
    """What the claims of this installation are issued under, as PEM: for who checks a file here. None where unknown."""
    brought = settings.provenance.certificates
    try:
        if brought is None:
            return (settings.data_dir / ROOT_FILE).read_text()
        chain = brought if _BEGIN in brought else Path(brought).read_text()
    except OSError:
        return None
    return _BEGIN + chain.rpartition(_BEGIN)[2]
