"""Sign-in by OpenID Connect: authorization code with PKCE, and an identity token that is checked, not believed.

The issuer is configured, so its host and those that its discovery document names are trusted for exactly this. A person is
found by issuer and subject; else by a verified e-mail address, where an account or an invitation has it.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import structlog
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.crypto import DecryptionError, SecretBox
from gateway.db import Database
from gateway.errors import BadRequest, Forbidden, Unavailable
from gateway.keys.service import DEFAULT_ORGANIZATION
from gateway.members import store
from gateway.members.roles import Role
from gateway.members.tables import invitations, users
from gateway.settings import Oidc
from providers.contract import Account, ProviderError
from providers.http import HttpDoor

if TYPE_CHECKING:
    import jwt

log = structlog.get_logger(__name__)

FLOW_SECONDS: Final = 600
_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
_LEEWAY_SECONDS: Final = 60
_TIMEOUT: Final = 10.0
_MOST_BYTES: Final = 256 * 1024
_KNOWN_SECONDS: Final = 3600.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and what its cookie keeps meanwhile."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What the provider vouches for. `email` is in lower case, None unless the provider verified it."""

    issuer: str
    subject: str
    email: str | None
    name: str


class OidcProvider:
    """The one provider of this installation. Raises ApiError."""

    def __init__(self, settings: Oidc, door: HttpDoor, clock: Clock, box: SecretBox) -> None:
        self._settings = settings
        self._door = door
        self._clock = clock
        self._box = box
        self._discovered: tuple[float, Json] | None = None
        self._keys: Json = {}

    @property
    def name(self) -> str | None:
        """What the button says; None where no provider is configured."""
        return self._settings.name if self._settings.issuer else None

    async def begin(self, redirect_uri: str, goes_to: str) -> Begun:
        """Start a sign-in: state, nonce and verifier are known to this browser alone."""
        found = await self._discovery()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id or "",
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        kept = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": goes_to,
            "until": self._clock.now_ms() // 1000 + FLOW_SECONDS,
        }
        endpoint = str(found["authorization_endpoint"])
        joint = "&" if urlsplit(endpoint).query else "?"
        return Begun(
            f"{endpoint}{joint}{urlencode(asked)}", self._box.encrypt(json.dumps(kept).encode()).decode()
        )

    async def finish(
        self, cookie: str | None, query: Mapping[str, str], redirect_uri: str
    ) -> tuple[Identity, str]:
        """End a sign-in: who it is, and where the browser wanted to go. BadRequest for one that was not begun here."""
        kept = self._kept(cookie)
        if not secrets.compare_digest(str(kept["state"]).encode(), query.get("state", "").encode()):
            raise _stale()
        if "code" not in query:
            raise BadRequest(
                f"The provider did not let you in: {query.get('error', 'no reason given')[:100]}.",
                code="oidc_refused",
            )
        token = await self._exchange(query["code"][:4000], str(kept["verifier"]), redirect_uri)
        claims = await self._claims(token, str(kept["nonce"]))
        return self._identity(claims), str(kept["next"])

    def _kept(self, cookie: str | None) -> Json:
        try:
            kept: Json = json.loads(self._box.decrypt((cookie or "").encode()))
        except (DecryptionError, ValueError):
            raise _stale() from None
        if not isinstance(kept, dict) or kept.get("until", 0) < self._clock.now_ms() // 1000:
            raise _stale()
        return kept

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        settings, found = self._settings, await self._discovery()
        secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": settings.client_id or "",
            "code_verifier": verifier,
            **({"client_secret": secret} if secret else {}),
        }
        answer = await self._ask("POST", str(found["token_endpoint"]), urlencode(body).encode())
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise BadRequest("The provider gave no identity token.", code="oidc_refused")
        return token

    async def _claims(self, token: str, nonce: str) -> Json:
        import jwt  # noqa: PLC0415  (only where somebody signs in by it)

        key = await self._key(token)
        try:
            claims: Json = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._settings.client_id,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            log.warning("oidc_token_refused", reason=type(error).__name__)
            raise BadRequest("The provider's identity token is not good.", code="oidc_refused") from None
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise BadRequest("The provider's identity token is for another sign-in.", code="oidc_refused")
        return claims

    async def _key(self, token: str) -> "jwt.PyJWK":
        """The key that the token names; fetched once more where it is not known yet."""
        import jwt  # noqa: PLC0415  (as above)

        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise BadRequest("The provider's identity token is none.", code="oidc_refused") from None
        if header.get("alg") not in _ALGORITHMS:
            raise BadRequest(
                "The provider's identity token is signed in a way that is not accepted.", code="oidc_refused"
            )
        for fresh in (False, True):
            if fresh or not self._keys:
                self._keys = await self._ask("GET", str((await self._discovery())["jwks_uri"]))
            for each in self._keys.get("keys", []):
                if (
                    isinstance(each, dict)
                    and each.get("kid") == header.get("kid")
                    and each.get("kty") != "oct"
                ):
                    return jwt.PyJWK(each, algorithm=header["alg"])
        raise BadRequest("The provider's identity token is signed by an unknown key.", code="oidc_refused")

    def _identity(self, claims: Json) -> Identity:
        email = claims.get("email")
        verified = claims.get("email_verified") is True and isinstance(email, str)
        known = str(email).lower() if verified else None
        domains = self._settings.allowed_domains
        if domains and (known is None or known.rpartition("@")[2] not in domains):
            raise Forbidden(
                "Your address is not of a domain that may sign in here.", code="domain_not_allowed"
            )
        return Identity(
            self._issuer,
            str(claims["sub"])[:255],
            known,
            str(claims.get("name") or known or "Somebody")[:200],
        )

    @property
    def _issuer(self) -> str:
        return self._settings.issuer or ""

    async def _discovery(self) -> Json:
        now = self._clock.monotonic()
        if self._discovered is not None and self._discovered[0] > now:
            return self._discovered[1]
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._ask("GET", url)
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found.get("issuer") != self._issuer or not all(
            isinstance(found.get(each), str) for each in needed
        ):
            raise Unavailable("The sign-in provider describes itself as another one; tell your operator.")
        self._discovered = (now + _KNOWN_SECONDS, found)
        return found

    async def _ask(self, method: str, url: str, body: bytes | None = None) -> Json:
        """One request to the issuer, or to a host that its discovery document names."""
        parts = urlsplit(url)
        client = self._door.account(Account("oidc", f"{parts.scheme}://{parts.netloc}"))
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            answer = await client.request(
                method, path, content=body, headers=headers, timeout=_TIMEOUT, max_bytes=_MOST_BYTES
            )
            return answer.object()
        except ProviderError as error:
            log.warning("oidc_failed", host=parts.netloc, kind=str(error.kind))
            if error.http_status is not None and 400 <= error.http_status < 500:
                raise BadRequest(
                    "The provider did not accept the sign-in. Start again.", code="oidc_refused"
                ) from None
            raise Unavailable("The sign-in provider does not answer just now. Try again.") from None


class OidcMembers:
    """From an identity to a person. Raises ApiError."""

    def __init__(self, db: Database, clock: Clock, settings: Oidc) -> None:
        self._db = db
        self._clock = clock
        self._role = settings.default_role

    async def person(self, identity: Identity) -> str:
        """Find or make the person: the id. Forbidden for somebody whom nobody invited."""
        try:
            return await self._db.write(lambda conn: self._found(conn, identity))
        except IntegrityError:  # the same person twice at once: known by now
            return await self._db.write(lambda conn: self._found(conn, identity))

    def _found(self, conn: Connection, identity: Identity) -> str:
        linked = users.c.oidc_issuer == identity.issuer, users.c.oidc_subject == identity.subject
        row = conn.execute(select(users.c.id).where(*linked)).first()
        if row is not None:
            return str(row.id)
        if identity.email is None:
            raise Forbidden(
                "Your provider has not verified your e-mail address, so it cannot be matched.",
                code="email_unverified",
            )
        known = store.user_by_email(conn, identity.email)
        if known is None:
            return self._joined(conn, identity, identity.email)
        if known.oidc_subject is not None:
            raise Forbidden("This account is linked to another identity.", code="other_identity")
        conn.execute(
            update(users)
            .where(users.c.id == known.id)
            .values(oidc_issuer=identity.issuer, oidc_subject=identity.subject)
        )
        caller().note(conn, "user.identity_linked", known.id, after={"issuer": identity.issuer})
        return str(known.id)

    def _joined(self, conn: Connection, identity: Identity, email: str) -> str:
        now = self._clock.now_ms()
        invited = store.open_invitation_of(conn, email, now)
        if invited is None and self._role is None:
            raise Forbidden(
                "Nobody has invited this address. Ask an owner or admin for an invitation.",
                code="not_invited",
            )
        organization_id = DEFAULT_ORGANIZATION if invited is None else invited.organization_id
        role = Role(self._role or Role.VIEWER) if invited is None else Role(invited.role)
        user_id = store.add_user(
            conn,
            email=email,
            name=identity.name,
            now=now,
            oidc_issuer=identity.issuer,
            oidc_subject=identity.subject,
        )
        store.add_member(conn, organization_id, user_id, role, now)
        if invited is not None:
            conn.execute(update(invitations).where(invitations.c.id == invited.id).values(accepted_at=now))
        caller().note(conn, "user.added", user_id, Of(organization_id), after={"role": role})
        return user_id


def _stale() -> BadRequest:
    return BadRequest("This sign-in was not begun here, or took too long. Start again.", code="oidc_stale")
