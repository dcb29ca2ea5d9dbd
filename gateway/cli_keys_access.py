"""What `onereel keys` does, over either way in: HTTP, or the key service on an unused database."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from gateway.cli_client import ServerClient, ServerError, find_server
from gateway.cli_terminal import CommandError, run
from gateway.keys.forms import KeyChanges, KeyForm, parse
from gateway.keys.service import DEFAULT_PROJECT, KeyService, operator_principal
from gateway.keys.store import PageQuery
from gateway.settings import Settings

T = TypeVar("T")
Json = dict[str, Any]


class KeyAccess(Protocol):
    """Projects and keys, by the API's own fields and objects."""

    async def projects(self) -> list[str]:
        """Ids of the projects that may be managed."""
        ...

    async def create(self, project_id: str, fields: Json) -> Json:
        """Make a key."""
        ...

    async def list(self, project_id: str) -> list[Json]:
        """Keys of a project."""
        ...

    async def change(self, project_id: str, key_id: str, fields: Json) -> Json:
        """Change a key."""
        ...

    async def revoke(self, project_id: str, key_id: str) -> None:
        """End a key."""
        ...


class HttpAccess:
    """Through the running server."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    async def projects(self) -> list[str]:
        """See KeyAccess."""
        return [str(project["id"]) for project in self._client.every("/v1/organization/projects")]

    async def create(self, project_id: str, fields: Json) -> Json:
        """See KeyAccess."""
        return self._client.post(_path(project_id), fields).body

    async def list(self, project_id: str) -> list[Json]:
        """See KeyAccess."""
        return self._client.every(_path(project_id))

    async def change(self, project_id: str, key_id: str, fields: Json) -> Json:
        """See KeyAccess."""
        return self._client.post(f"{_path(project_id)}/{key_id}", fields).body

    async def revoke(self, project_id: str, key_id: str) -> None:
        """See KeyAccess."""
        self._client.delete(f"{_path(project_id)}/{key_id}")


class OfflineAccess:
    """As the operator, on the database."""

    def __init__(self, keys: KeyService, project: str | None) -> None:
        self._keys = keys
        self._project = project
        self._operator = operator_principal()

    async def enter(self) -> None:
        """Act in the organization of the named project."""
        if self._project is not None:
            self._operator = await self._keys.acting_in(self._operator, self._project)

    async def projects(self) -> list[str]:
        """See KeyAccess."""
        pages = await _every(lambda page: self._keys.list_projects(self._operator, page))
        return [str(project["id"]) for project in pages]

    async def create(self, project_id: str, fields: Json) -> Json:
        """See KeyAccess."""
        return await self._keys.create_key(self._operator, project_id, parse(KeyForm, fields))

    async def list(self, project_id: str) -> list[Json]:
        """See KeyAccess."""
        return await _every(lambda page: self._keys.list_keys(self._operator, project_id, page))

    async def change(self, project_id: str, key_id: str, fields: Json) -> Json:
        """See KeyAccess."""
        return await self._keys.update_key(self._operator, project_id, key_id, parse(KeyChanges, fields))

    async def revoke(self, project_id: str, key_id: str) -> None:
        """See KeyAccess."""
        await self._keys.revoke_key(self._operator, project_id, key_id)


def create_key(settings: Settings, project: str | None, fields: Json) -> Json:
    """Make a key in the project, or in the only or default one."""

    async def work(access: KeyAccess) -> Json:
        return await access.create(project or _only(await access.projects()), fields)

    return _with_access(settings, project, work)


def all_keys(settings: Settings, project: str | None) -> list[Json]:
    """Keys of the project, or of all projects."""

    async def work(access: KeyAccess) -> list[Json]:
        return [key for each in await _chosen(access, project) for key in await access.list(each)]

    return _with_access(settings, project, work)


def change_key(settings: Settings, project: str | None, key_id: str, fields: Json) -> Json:
    """Change a key, wherever it is."""

    async def work(access: KeyAccess) -> Json:
        return await access.change(await _home(access, project, key_id), key_id, fields)

    return _with_access(settings, project, work)


def revoke_key(settings: Settings, project: str | None, key_id: str) -> None:
    """End a key, wherever it is."""

    async def work(access: KeyAccess) -> None:
        await access.revoke(await _home(access, project, key_id), key_id)

    _with_access(settings, project, work)


def _with_access(settings: Settings, project: str | None, work: Callable[[KeyAccess], Awaitable[T]]) -> T:
    return run(_connected(settings, project, work))


async def _connected(settings: Settings, project: str | None, work: Callable[[KeyAccess], Awaitable[T]]) -> T:
    client = find_server(settings, admin=True, project=project)
    if client is not None:
        try:
            return await work(HttpAccess(client))
        except ServerError as error:
            if error.status in {401, 403}:
                raise CommandError(f"{error.message} (at {client.url})") from None
            raise
    from gateway.cli_offline import offline_keys

    async with offline_keys(settings) as keys:
        access = OfflineAccess(keys, project)
        await access.enter()
        return await work(access)


async def _chosen(access: KeyAccess, project: str | None) -> list[str]:
    return [project] if project else await access.projects()


async def _home(access: KeyAccess, project: str | None, key_id: str) -> str:
    """Find the project of a key. CommandError if no project that may be managed has it."""
    for each in await _chosen(access, project):
        if any(key["id"] == key_id for key in await access.list(each)):
            return each
    raise CommandError(f"There is no key '{key_id}'; see `onereel keys list`.")


def _only(projects: list[str]) -> str:
    if DEFAULT_PROJECT in projects:
        return DEFAULT_PROJECT
    if len(projects) == 1:
        return projects[0]
    raise CommandError(f"Name the project with --project: {', '.join(projects) or 'there is none'}.")


async def _every(read: Callable[[PageQuery], Awaitable[Any]]) -> list[Json]:
    found: list[Json] = []
    page = PageQuery(limit=100)
    while True:
        part = await read(page)
        found += part.data
        if not part.has_more:
            return found
        page = PageQuery(limit=100, after=found[-1]["id"])


def _path(project_id: str) -> str:
    return f"/v1/organization/projects/{project_id}/api_keys"
