"""`onereel billing report`, with and without a server."""

from tests.gateway.cli.conftest import Command

MONEY = ("CHARGED", "QUOTED", "ESTIMATED", "REPORTED", "DIFFERENCE")


def test_the_command_reads_a_database_without_a_server(onereel: Command) -> None:
    shown = onereel("billing", "report")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == ["DAY", "COMPLETED", "FAILED", "TOLD", *MONEY]
    assert "Nothing ended" in shown.stderr
    wrong = onereel("billing", "report", "--since", "2026-02-01", "--until", "2026-01-01")
    assert wrong.returncode == 1


def test_the_command_beside_a_server(beside: Command) -> None:
    made = beside("generate", "a fox", "-o", "fox.mp4", "--seconds", "4", "--size", "1280x720")
    assert made.returncode == 0, made.stderr
    days = beside("billing", "report")
    assert days.returncode == 0, days.stderr
    header, day = days.stdout.splitlines()
    assert header.split()[0] == "DAY"
    assert day.split()[1:4] == ["1", "0", "0"]
    assert day.split()[4:] == ["0.400000", "0.400000", "0.320000", "-", "-"]
    video = beside("billing", "report", "--by", "video", "--csv").stdout.splitlines()
    assert video[0].startswith("ended,video,status,organization,model,upstream,charged")
    assert ",completed,org_default,acme/fast,acme,0.400000,0.400000,0.320000,," in video[1]
    assert "Nothing differs" in beside("billing", "report", "--different").stderr
    assert "consistent" in beside("ledger", "verify").stdout
