"""The pages of projects."""

import re
from collections.abc import Iterator

import pytest

from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for

PROJECT = re.compile(r'href="/projects/(proj_\w{32})"')


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("projects"))) as visit:
        yield visit


def new_project(visit: Visit, name: str) -> str:
    visit.post("/projects/new", {"name": name})
    found = PROJECT.search(visit.page("/projects"))  # the newest is first
    assert found
    return found[1]


def test_a_project_is_made_renamed_and_archived_by_its_name(visit: Visit) -> None:
    project = new_project(visit, "Spring <campaign>")
    assert "Spring &lt;campaign&gt;" in visit.page("/projects")
    visit.post(f"/projects/{project}", {"name": "Summer"})
    assert "Summer" in visit.page(f"/projects/{project}")
    for typed in ("", "summer"):
        told = visit.post(f"/projects/{project}/archive", {"name": typed}, status=400).json()["error"]
        assert told["param"] == "name"
    visit.post(f"/projects/{project}/archive", {"name": "Summer"})
    page = visit.page(f"/projects/{project}")
    assert "archived" in page
    assert "<form" not in page.partition("</h1>")[2]
    assert "archived" in visit.page("/projects")
    visit.post(f"/projects/{project}", {"name": "Winter"}, status=400)


def test_the_default_project_stays(visit: Visit) -> None:
    told = visit.post("/projects/proj_default/archive", {"name": "Default"}, status=400).json()["error"]
    assert "default project" in told["message"]


def test_a_name_is_needed(visit: Visit) -> None:
    assert visit.post("/projects/new", {"name": " "}, status=400).json()["error"]["param"] == "name"


def test_the_project_of_a_person_may_be_archived_under_that_person(visit: Visit) -> None:
    project = new_project(visit, "Short")
    visit.post("/switch", {"project": project, "project_id": project})
    visit.post(f"/projects/{project}/archive", {"name": "Short"})
    assert "Projects" in visit.page("/projects")


def test_projects_of_others_do_not_exist(visit: Visit) -> None:
    made = visit.operator.post("/v1/organizations", json={"name": "Elsewhere"}).json()
    foreign = made["default_project_id"]
    for each in (visit, visit.member("admin")):
        each.page(f"/projects/{foreign}", 404)
        each.page(f"/projects?after={foreign}", 400)
        each.post(f"/projects/{foreign}", {"name": "x"}, status=404)
        each.post(f"/projects/{foreign}/archive", {"name": "Default"}, status=404)
