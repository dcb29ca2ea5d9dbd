"""/v1/organization/projects and their api_keys, by OpenAI's admin conventions; /v1/organizations for the operator."""

from typing import Annotated, Any, Final, TypeVar

from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from pydantic import BaseModel

from gateway.http.accept import ACCEPT, Accept
from gateway.http.auth import requires
from gateway.http.openapi import documented
from gateway.http.pagination import PAGE, PageRequest, listed
from gateway.keys import view
from gateway.keys.forms import KeyChanges, KeyForm, NameForm, NoFields, OrganizationForm
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.principal import Principal, Scope

F = TypeVar("F", bound=BaseModel)
Json = dict[str, Any]
AnyRequest = Request[Any, Any, Any]
ProjectId = Annotated[str, PathParameter(description="The project's id.", max_length=64)]
IncludeArchived = Annotated[bool, QueryParameter(description="Whether to list archived projects too.")]
KeyId = Annotated[str, PathParameter(description="The key's id.", max_length=64)]


def _query(page: PageRequest) -> PageQuery:
    return PageQuery(page.limit, page.after, page.descending)


class OrganizationsController(Controller):
    """Organizations of this installation: the operator's business."""

    path = "/v1/organizations"
    tags = ["organization"]
    opt = requires(Scope.OPERATOR)
    dependencies = {**PAGE, **ACCEPT}

    @post(
        status_code=200,
        operation_class=documented(body=OrganizationForm, answer=view.NewOrganization),
        summary="Create an organization",
    )
    async def create_organization(
        self,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Make an organization with a first project. Send X-Onereel-Project to act in it."""
        return await accept(
            OrganizationForm, lambda form, claim: keys.create_organization(principal, form, claim)
        )

    @get(operation_class=documented(answer=view.OrganizationList), summary="List organizations")
    async def list_organizations(
        self,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List every organization."""
        return listed(await keys.list_organizations(principal, _query(page)))


class ProjectsController(Controller):
    """Projects of the caller's organization."""

    path = "/v1/organization/projects"
    tags = ["organization"]
    opt = requires(Scope.ORGANIZATION)
    dependencies = {**PAGE, **ACCEPT}

    @post(
        status_code=200,
        operation_class=documented(body=NameForm, answer=view.Project),
        summary="Create a project",
    )
    async def create_project(
        self,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Make a project."""
        return await accept(NameForm, lambda form, claim: keys.create_project(principal, form, claim))

    @get(operation_class=documented(answer=view.ProjectList), summary="List projects")
    async def list_projects(
        self,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        page: NamedDependency[PageRequest],
        include_archived: IncludeArchived = False,
    ) -> Json:
        """List the projects that are open, and the archived ones if asked for."""
        return listed(await keys.list_projects(principal, _query(page), archived=include_archived))

    @get("/{project_id:str}", operation_class=documented(answer=view.Project), summary="Retrieve a project")
    async def retrieve_project(
        self,
        project_id: ProjectId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
    ) -> Json:
        """Show one project."""
        return await keys.get_project(principal, project_id)

    @post(
        "/{project_id:str}",
        status_code=200,
        operation_class=documented(body=NameForm, answer=view.Project),
        summary="Modify a project",
    )
    async def modify_project(
        self,
        project_id: ProjectId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Give a project another name."""
        return await accept(
            NameForm, lambda form, claim: keys.rename_project(principal, project_id, form, claim)
        )

    @post(
        "/{project_id:str}/archive",
        status_code=200,
        operation_class=documented(answer=view.Project),
        summary="Archive a project",
    )
    async def archive_project(
        self,
        project_id: ProjectId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Close a project for good; its keys stop working."""
        return await accept(NoFields, lambda _form, claim: keys.archive_project(principal, project_id, claim))


class ApiKeysController(Controller):
    """Keys of one project."""

    path = "/v1/organization/projects/{project_id:str}/api_keys"
    tags = ["organization"]
    opt = requires(Scope.ORGANIZATION)
    dependencies = {**PAGE, **ACCEPT}

    @post(
        status_code=200,
        operation_class=documented(body=KeyForm, answer=view.NewProjectApiKey),
        summary="Create an API key",
    )
    async def create_key(
        self,
        project_id: ProjectId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Make a key. Its `value` is shown this once; a replay with the same Idempotency-Key has null there."""
        return await accept(KeyForm, lambda form, claim: keys.create_key(principal, project_id, form, claim))

    @get(operation_class=documented(answer=view.ProjectApiKeyList), summary="List API keys")
    async def list_keys(
        self,
        project_id: ProjectId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List keys, redacted."""
        return listed(await keys.list_keys(principal, project_id, _query(page)))

    @get(
        "/{key_id:str}", operation_class=documented(answer=view.ProjectApiKey), summary="Retrieve an API key"
    )
    async def retrieve_key(
        self,
        project_id: ProjectId,
        key_id: KeyId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
    ) -> Json:
        """Show one key, redacted."""
        return await keys.get_key(principal, project_id, key_id)

    @post(
        "/{key_id:str}",
        status_code=200,
        operation_class=documented(body=KeyChanges, answer=view.ProjectApiKey),
        summary="Modify an API key",
    )
    async def modify_key(
        self,
        *,
        project_id: ProjectId,
        key_id: KeyId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Change the fields that are sent; null lifts a limit. Holds within a second in every process."""
        return await accept(
            KeyChanges, lambda changes, claim: keys.update_key(principal, project_id, key_id, changes, claim)
        )

    @delete(
        "/{key_id:str}",
        status_code=200,
        operation_class=documented(answer=view.DeletedProjectApiKey),
        summary="Revoke an API key",
    )
    async def revoke_key(
        self,
        project_id: ProjectId,
        key_id: KeyId,
        principal: NamedDependency[Principal],
        keys: NamedDependency[KeyService],
    ) -> Json:
        """End a key for good: it fails within a second in every process."""
        return await keys.revoke_key(principal, project_id, key_id)


CONTROLLERS: Final = (OrganizationsController, ProjectsController, ApiKeysController)
