"""Commands on a data directory that no server uses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.cli.conftest import Command


def test_help_is_instant_and_lists_every_command(onereel: Command):
    shown = onereel("--help")
    assert shown.returncode == 0
    names = {
        line.split()[0] for line in shown.stdout.partition("Commands:")[2].splitlines() if line[2:3].strip()
    }
    assert names == {
        "billing",
        "credits",
        "db",
        "doctor",
        "generate",
        "keys",
        "ledger",
        "models",
        "recover",
        "secrets",
        "serve",
        "upstreams",
        "worker",
    }
    code = (
        "import sys; sys.argv = ['onereel', '--help']\n"
        "from gateway.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'litestar', 'sqlalchemy', 'pydantic', 'uvicorn', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "command", ["serve", "credits", "generate", "keys", "models", "upstreams", "db", "ledger", "doctor"]
)
def test_every_command_explains_itself(onereel: Command, command: str):
    shown = onereel(command, "--help")
    assert shown.returncode == 0
    assert "Usage: onereel" in shown.stdout


def test_the_life_of_a_key_without_a_server(onereel: Command, tmp_path: Path):
    made = onereel(
        "keys", "create", "--name", "ci", "--scope", "videos.read,files.read", "--model", "acme/fast",
        "--requests-per-minute", "60", "--concurrent-videos", "3", "--expires", "30d",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("onereel_")
    assert made.stdout.count("\n") == 1
    assert "Admin API key (shown only this once" in made.stderr
    admin, key = json.loads(onereel("keys", "list", "--json").stdout)
    assert admin["scopes"].count("operator") == 1
    assert (key["name"], key["scopes"], key["models"]) == ("ci", ["files.read", "videos.read"], ["acme/fast"])
    assert (key["requests_per_minute"], key["concurrent_videos"]) == (60, 3)
    changed = onereel("keys", "limit", key["id"], "--requests-per-minute", "none", "--model", "all")
    assert changed.returncode == 0, changed.stderr
    _, key = json.loads(onereel("keys", "list", "--json").stdout)
    assert (key["requests_per_minute"], key["models"], key["concurrent_videos"]) == (None, None, 3)
    listed = onereel("keys", "list").stdout
    assert made.stdout.strip() not in listed
    assert key["redacted_value"] in listed
    assert onereel("keys", "revoke", key["id"]).stdout == f"{key['id']} is revoked.\n"
    assert key["id"] not in onereel("keys", "list").stdout
    again = onereel("keys", "revoke", key["id"])
    assert (again.returncode, again.stdout) == (1, "")
    assert "There is no key" in again.stderr
    assert (tmp_path / "onereel-data" / "onereel.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("keys", "create", "--scope", "videos.watch"), 1, "scopes[0]"),
        (("keys", "create", "--expires", "2001-01-01"), 1, "time to come"),
        (("keys", "create", "--expires", "soon"), 2, "is no time"),
        (("keys", "create", "--requests-per-minute", "0"), 2, "neither a whole number"),
        (("keys", "create", "--project", "proj_x"), 1, "No project"),
        (("keys", "limit", "key_x"), 2, "at least one change"),
        (("keys", "create", "--model", "all", "--model", "a"), 1, "stands alone"),
        (("generate", "a fox"), 1, "No server runs"),
        (("models",), 1, "onereel serve"),
        (("upstreams", "check"), 1, "No [[upstreams]]"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_failures_say_what_to_do_on_stderr(
    onereel: Command, arguments: tuple[str, ...], code: int, says: str
):
    failed = onereel(*arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("log_format = 'xml'", "log_format: "),
        ("port = ", "not valid TOML"),
        ("[limits]\nwidth = 1", "limits.width: "),
    ],
)
def test_wrong_settings_are_named(onereel: Command, tmp_path: Path, toml: str, says: str):
    (tmp_path / "onereel.toml").write_text(toml)
    failed = onereel("keys", "list")
    assert failed.returncode == 1
    assert says in failed.stderr


def test_db_upgrade_names_the_revision(onereel: Command):
    from gateway.migrate import HEAD

    assert onereel("db", "upgrade").stdout == f"{HEAD}\n"


def test_the_ledger_of_a_new_installation_is_consistent(onereel: Command):
    verified = onereel("ledger", "verify")
    assert (verified.returncode, verified.stdout) == (0, "The ledger is consistent.\n")


def test_doctor_on_a_new_machine_and_after_the_first_start(onereel: Command):
    fresh = onereel("doctor")
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    assert "SQLite, made at the first start" in fresh.stdout
    assert "\x1b" not in fresh.stdout
    onereel("db", "upgrade")
    later = onereel("doctor")
    assert later.returncode == 0
    assert "can be written" in later.stdout
    assert "sqlite at revision" in later.stdout
    assert "written, read and deleted" in later.stdout


def test_doctor_names_what_is_broken_and_the_fix(onereel: Command, tmp_path: Path):
    (tmp_path / "file").write_text("")
    broken = onereel(
        "doctor",
        env={
            "ONEREEL_DATA_DIR": str(tmp_path / "file"),
            "ONEREEL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "ONEREEL_CONFIG": "missing.toml",
            "ONEREEL_ADMIN_KEY": "short",
        },
    )
    assert broken.returncode == 1
    failed = [line.split()[1] for line in broken.stdout.splitlines() if line.startswith("fail")]
    assert {"configuration", "data", "database"} <= set(failed)
    assert "check ONEREEL_DATABASE_URL" in broken.stdout
    assert "ONEREEL_ADMIN_KEY is short" in broken.stdout
    assert "set ONEREEL_STORAGE_URL to the same value on every server" in broken.stdout
    assert "set ONEREEL_SECURITY__ENCRYPTION_KEYS to the same value" in broken.stdout
    assert "short\n" not in broken.stderr


def test_upstreams_list_hides_credentials(onereel: Command, tmp_path: Path):
    from tests.server import upstream_table

    (tmp_path / "onereel.toml").write_text(upstream_table("http://127.0.0.1:1/v1"))
    listed = onereel("upstreams", "list")
    assert listed.returncode == 0
    assert "http://127.0.0.1:1/v1" in listed.stdout
    assert "acme/fast" in listed.stdout
    assert "upstream-secret" not in listed.stdout
    checked = onereel("upstreams", "check")
    assert checked.returncode == 1
    assert "unreachable" in checked.stdout


def test_worker_passes_its_options_on(onereel: Command):
    shown = onereel("worker", "--help", env={"ONEREEL_LOCAL__PYTHON": sys.executable})
    assert shown.returncode == 0
    assert "worker" in shown.stdout


def test_credit_without_a_server(onereel: Command):
    given = onereel("credits", "grant", "25.00", "--reason", "pilot")
    assert given.returncode == 0, given.stderr
    assert onereel("credits", "grant", "5", "--reason", "gift", "--expires", "30d").returncode == 0
    pilot, gift = json.loads(onereel("credits", "list", "--json").stdout)
    assert (pilot["id"], pilot["amount_usd"], pilot["expires_at"]) == (
        given.stdout.strip(),
        "25.000000",
        None,
    )
    assert (gift["remaining_usd"], gift["reason"]) == ("5.000000", "gift")
    assert "pilot" in onereel("credits", "list", "--organization", "org_default").stdout
    unknown = onereel("credits", "list", "--organization", "org_x")
    assert (unknown.returncode, "No organization with the id 'org_x'" in unknown.stderr) == (1, True)
    refused = onereel("credits", "grant", "1.2345678", "--reason", "odd")
    assert (refused.returncode, "six decimal places" in refused.stderr) == (1, True)
    assert onereel("ledger", "verify").stdout == "The ledger is consistent.\n"


def test_the_catalogue_is_listed_without_a_server_or_a_key(onereel: Command):
    shown = onereel("models", "--catalog")
    assert shown.returncode == 0, shown.stderr
    header, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert (header[0], header[-1]) == ("MODEL", "SET")
    assert len(rows) >= 100
    assert {len(row) for row in rows} == {len(header)}
    by_id = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    veo = by_id["google_vertex/veo-3.0-generate-001"]
    assert veo["STATUS"] == "retired 2026-06-30 -> google_vertex/veo-3.1-generate-001"
    gen = by_id["runway/gen4.5"]
    assert (gen["STATUS"], gen["SECONDS"], gen["COST"]) == ("live", "2-10", "0.12/USD output_second")
    assert (gen["KNOWN BY"], gen["SET"]) == ("sdk", "RUNWAYML_API_SECRET")
    assert by_id["kling/kling-v3"]["SET"] == "KLING_API_KEY or KLING_ACCESS_KEY+KLING_SECRET_KEY"
    assert "Higgsfield: its models are not listed here" in shown.stderr
    same = onereel("models", "list", "--catalog", "--json")
    assert {"runway", "xai"} <= {file["provider"] for file in json.loads(same.stdout)}


def test_a_server_does_not_start_with_an_upstream_that_cannot_be_asked(onereel: Command, tmp_path: Path):
    table = '[[upstreams]]\nname = "veo"\ntype = "google_vertex"\napi_key = "k"\n'
    for address, says in (
        ("https://us-central1-aiplatform.googleapis.com/v1", "options.project must name"),
        ("https://user:pw@example.com/v1", "base_url"),
    ):
        (tmp_path / "onereel.toml").write_text(f'{table}base_url = "{address}"\n')
        refused = onereel("serve")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert says in refused.stderr
        assert "user:pw" not in refused.stderr
