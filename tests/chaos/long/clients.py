"""Clients of the cluster: several organizations with prepaid credit and budgets, who ask until they are answered."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.chaos.long.members import Member
from tests.chaos.long.upstreams import KINDS, TINY, model_of
from tests.chaos.money import ORGANIZATION

ADMIN_KEY: Final = "chaos-operator-key"
CANCELLED, DELETED, UNTOLD = 9, 13, 3
"""Every so manieth video is cancelled, deleted, or names no webhook."""
LOCAL_SHARE: Final = 21
"""Every so manieth video is made by a worker."""


@dataclass
class Organization:
    """Who pays, and the key of its clients."""

    id: str
    key: str = ADMIN_KEY


@dataclass
class Clients:
    """Every request goes to an API process drawn anew."""

    apis: list[Member]
    http: httpx.AsyncClient
    webhook: str
    organizations: list[Organization] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def prepare(self, credit_usd: int) -> None:
        """Three organizations: one calls as the operator, one with a key, one with a key that runs five at once."""
        self.organizations = [Organization(ORGANIZATION)]
        for n, at_once in enumerate((None, 5)):
            made = await self._operator("/v1/organizations", {"name": f"customer {n}"}, f"organization-{n}")
            project = made["default_project_id"]
            form = {"name": "client", **({"concurrent_videos": at_once} if at_once else {})}
            path = f"/v1/organization/projects/{project}/api_keys"
            key = await self._operator(path, form, f"key-{n}", project=project)
            self.organizations.append(Organization(made["id"], key["value"]))
            await self._terms(made["id"], credit_usd, project=project)
        await self._terms(ORGANIZATION, credit_usd)

    async def _terms(self, organization: str, credit_usd: int, project: str = "") -> None:
        terms = {"plan": "chaos", "billing_mode": "prepaid"}
        await self._operator(f"/v1/organizations/{organization}", terms, f"terms-{organization}")
        for n, part in enumerate((credit_usd // 3, credit_usd - credit_usd // 3)):
            body: dict[str, Any] = {
                "amount_usd": f"{part}.00",
                "reason": "chaos",
                "organization": organization,
            }
            if not n:
                body["expires_at"] = 4_000_000_000
            await self._operator("/v1/billing/credits", body, f"credit-{organization}-{n}")
        for n, limit in enumerate(({"amount_usd": f"{credit_usd}.00"}, {"seconds": str(40 * credit_usd)})):
            body = {"period": "month", **limit}
            await self._operator("/v1/billing/budgets", body, f"budget-{organization}-{n}", project=project)

    async def _operator(self, path: str, body: dict[str, Any], key: str, *, project: str = "") -> Any:
        headers = {"X-Onereel-Project": project} if project else {}
        answer = await self.ask("POST", path, body, key=f"setup-{key}", headers=headers)
        answer.raise_for_status()
        return answer.json()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        bearer: str = ADMIN_KEY,
        headers: dict[str, str] | None = None,
        api: Member | None = None,
    ) -> httpx.Response:
        """Ask until it is answered, with the pauses and the counting header of the stock SDK."""
        tries = 0
        while True:
            sent = {"Authorization": f"Bearer {bearer}", **(headers or {})}
            if key:
                sent |= {"Idempotency-Key": key, "x-stainless-retry-count": str(tries)}
            with suppress(httpx.HTTPError):
                url = (api or random.choice(self.apis)).url
                answer = await self.http.request(method, url + path, json=body, headers=sent)
                if answer.status_code < 500 and answer.status_code not in (409, 429):
                    return answer
                self.counts[f"answered {answer.status_code}"] += 1
            tries += 1
            self.counts["retries"] += 1
            await asyncio.sleep(random.uniform(0.05, min(1.0, 0.1 * 2**tries)))

    async def make(self, n: int) -> None:
        """One video of the load; some are cancelled and some deleted while they are made."""
        owner = self.organizations[n // 7 % len(self.organizations)]
        created = await self.create(owner, model_for(n), prompt_for(n), f"clip-{n}", told=bool(n % UNTOLD))
        if created and n % CANCELLED == 0:
            await self._later("POST", f"/v1/videos/{created}/cancel", owner, "cancelled")
        elif created and n % DELETED == 0:
            await self._later("DELETE", f"/v1/videos/{created}", owner, "deleted")

    async def create(
        self,
        owner: Organization,
        model: str,
        prompt: str,
        key: str,
        *,
        told: bool,
        api: Member | None = None,
    ) -> str | None:
        """Ask for one video under a key; its id, None where it was refused."""
        body: dict[str, Any] = {"model": model, "prompt": prompt, "size": "720x1280", "seconds": "4"}
        if told:
            body["webhook_url"] = f"http://{self.webhook}/hook"
        answer = await self.ask("POST", "/v1/videos", body, key=key, bearer=owner.key, api=api)
        if answer.status_code != 200:
            self.problems.append(f"{key} was refused: {answer.status_code} {answer.text[:200]}")
            return None
        created = str(answer.json()["id"])
        if self.accepted.setdefault(key, created) != created:
            self.problems.append(f"{key} was accepted as {self.accepted[key]} and as {created}")
        if not told:
            self.untold.add(created)
        return created

    async def ended(self, owner: Organization, video_id: str, until: Callable[[], bool]) -> str:
        """The status that a video ends with, or has when `until` says that it is enough."""
        while True:
            answer = await self.ask("GET", f"/v1/videos/{video_id}", bearer=owner.key)
            status = str(answer.json().get("status", answer.status_code))
            if status in {"completed", "failed"} or until():
                return status
            await asyncio.sleep(0.15)

    async def probe(self, model: str, key: str, seconds: float, api: Member | None = None) -> bool:
        """Whether a new video comes to its end within some seconds; one that fails is followed by another."""
        owner, deadline, n = self.organizations[0], time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            made = await self.create(owner, model, "a probe", f"{key}-{n}", told=False, api=api)
            if made and await self.ended(owner, made, lambda: time.monotonic() > deadline) == "completed":
                return True
            n += 1
        return False

    async def _later(self, method: str, path: str, owner: Organization, name: str) -> None:
        await asyncio.sleep(random.uniform(0, 2.5))
        answer = await self.ask(method, path, bearer=owner.key)
        if answer.status_code == 200:
            self.counts[name] += 1
        elif answer.status_code != 404 or method != "DELETE":  # a delete that was not answered is repeated
            self.problems.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")


def model_for(n: int) -> str:
    return TINY if n % LOCAL_SHARE == 5 else model_of(KINDS[n % len(KINDS)])


def prompt_for(n: int) -> str:
    """Some ask the failing upstream for a failure."""
    kind = KINDS[n % len(KINDS)]
    if not kind.faults or model_for(n) == TINY or n // len(KINDS) % 2:
        return f"clip {n}"
    return f"clip {n} [fault:{kind.faults[n // len(KINDS) // 2 % len(kind.faults)]}]"
