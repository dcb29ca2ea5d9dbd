"""Hugging Face's router in front of a provider: an option of that provider's adapter, not a provider of its own.

Options of the account: huggingface = true, with base_url the router's (https://router.huggingface.co/<provider>) and a
Hugging Face token as the credential; bill_to (the organization that pays); hub_url (default https://huggingface.co).
A model may be named as the Hub or as the provider names it. The router has no callbacks of its own: none are asked for.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from providers import answers, request_fields
from providers.auth import Authenticate, Unsigned
from providers.auth.shared import Shared
from providers.contract import Account, ErrorKind, ProviderError
from providers.http import HttpDoor

_HUB: Final = "https://huggingface.co"
_TASKS: Final = frozenset({"text-to-video", "image-to-video"})
_MAPPING_SECONDS: Final = 3600.0


class HuggingFace:
    """Whether and how an account goes through the router; `provider` is the router's word for the provider."""

    def __init__(self, account: Account, http: HttpDoor, provider: str) -> None:
        self.used: Final = bool(account.options.get("huggingface", False))
        self._provider = provider
        self._headers = {"Authorization": f"Bearer {account.credential}"}
        if account.options.get("bill_to"):
            self._headers["X-HF-Bill-To"] = str(account.options["bill_to"])
        hub = replace(account, base_url=str(account.options.get("hub_url", _HUB)), options={})
        self._hub = http.account(hub)
        self._models: dict[str, Shared[str]] = {}

    @property
    def authenticate(self) -> Authenticate | None:
        """The headers of every request through the router; None where it is not used."""
        return self._authenticate if self.used else None

    async def model(self, name: str) -> str:
        """The provider's own name of a model. Raises ProviderError, which is never ambiguous."""
        if not self.used:
            return name
        known = self._models.setdefault(name, Shared(partial(self._mapped, name), time.time))
        with answers.before_create():
            return await known()

    async def check(self) -> str:
        """Ask the Hub whose token it is, which costs nothing."""
        found = (await self._hub.request("GET", "/api/whoami-v2", timeout=30)).object()
        return f"the token of {answers.clean(str(found.get('name', 'somebody')))} at Hugging Face is valid"

    async def _authenticate(self, _: Unsigned) -> Mapping[str, str]:
        return self._headers

    async def _mapped(self, name: str) -> tuple[str, float]:
        until = time.time() + _MAPPING_SECONDS
        path = f"/api/models/{quote(name)}?expand=inferenceProviderMapping"
        try:
            found = (await self._hub.request("GET", path, timeout=30)).object()
        except ProviderError as error:
            if error.kind is not ErrorKind.JOB_LOST:
                raise
            return name, until  # no model of the Hub: the provider's own name
        row = _row(found.get("inferenceProviderMapping"), self._provider)
        task, model = answers.found(row, "task"), answers.found(row, "providerId")
        if task not in _TASKS or not isinstance(model, str):
            what = f"serves it for {task}" if model else "does not serve it"
            request_fields.refuse("model", f"{name}: Hugging Face says that {self._provider} {what}")
        if answers.found(row, "adapterWeightsPath"):
            request_fields.refuse(
                "model", f"{name} is an adapter's weights; only whole models can be asked for"
            )
        return model, until


def _row(mapping: Any, provider: str) -> Any:
    """The provider's row: the Hub answers an object by provider, or a list."""
    if isinstance(mapping, list):
        return next((row for row in mapping if answers.found(row, "provider") == provider), None)
    return answers.found(mapping, provider)
