"""/projects: who owns videos, files, keys and webhooks within the organization."""

from typing import Any, Final
from urllib.parse import quote

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.errors import BadRequest
from gateway.http.auth import requires
from gateway.keys.forms import NameForm, parse
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.sessions import Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]
_ON_A_PAGE: Final = 50


class ProjectsPages(Controller):
    """Projects of the present organization."""

    path = "/projects"
    opt = requires(Scope.ORGANIZATION)

    @get()
    async def projects_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        pages: NamedDependency[Pages],
        after: FromQuery[str | None] = None,
    ) -> Response[str]:
        """List projects, the archived ones included."""
        page = PageQuery(_ON_A_PAGE, after or None, True)
        found = await keys.list_projects(visitor.principal, page, archived=True)
        older = f"/projects?after={quote(found.data[-1]['id'])}" if found.has_more else None
        return pages.show(request, "projects/projects.html", projects=found.data, next=older)

    @post("/new", status_code=303)
    async def make(
        self,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Make a project."""
        made = await keys.create_project(visitor.principal, parse(NameForm, form.fields))
        return redirect("/projects", done=f"The project {made['name']} was made.")

    @get("/{project_id:str}")
    async def project_page(
        self,
        request: AnyRequest,
        project_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show one project."""
        project = await keys.get_project(visitor.principal, project_id)
        return pages.show(request, "projects/project.html", project=project)

    @post("/{project_id:str}", status_code=303)
    async def rename(
        self,
        project_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Give a project another name."""
        await keys.rename_project(visitor.principal, project_id, parse(NameForm, form.fields))
        return redirect(f"/projects/{project_id}", done="The project was renamed.")

    @post("/{project_id:str}/archive", status_code=303)
    async def archive(
        self,
        project_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Close a project for good, for who types its name."""
        project = await keys.get_project(visitor.principal, project_id)
        if form.text("name") != project["name"]:
            raise BadRequest(f"Type the name of the project, {project['name']}, to archive it.", param="name")
        await keys.archive_project(visitor.principal, project_id)
        return redirect("/projects", done=f"The project {project['name']} was archived.")
