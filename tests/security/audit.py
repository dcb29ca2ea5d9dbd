"""The locks against a list of known vulnerabilities, by pip-audit: `python -m tests.security.audit`.

Fails on a finding. Where no such list can be reached it says so and does not fail: nothing is known then.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

REQUIREMENTS: Final = Path(__file__).parents[2] / "requirements"
SMALL: Final = "build.txt"  # asked for first: a service that knows nothing of these knows nothing
LOCKS: Final = ("gateway.txt", "local.txt", "dev.txt", "conformance.txt", "torch.txt")
SERVICES: Final = (("-s", "pypi"), ("-s", "osv"))
SECONDS: Final = 5  # to wait for one answer
_AWAY: Final = ("ConnectionError", "ServiceError", "Timeout", "Could not connect")


class NotReached(Exception):
    """The service gave no answer, or knows none of our packages."""


@dataclass
class Report:
    """What a service knew: how many packages, what is wrong with which, and those it does not know."""

    known: int = 0
    findings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, answer: Any) -> None:
        """Add the JSON of one run of pip-audit."""
        for each in answer["dependencies"]:
            if "skip_reason" in each:
                self.unknown.append(each["name"])
                continue
            self.known += 1
            for found in each["vulns"]:
                fixed = ", ".join(found["fix_versions"]) or "no version"
                self.findings.append(
                    f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}: {found.get('description', '')[:200]}"
                )


def audit(service: Sequence[str], folder: Path = REQUIREMENTS, locks: Iterable[str] = LOCKS) -> Report:
    """Ask one service. Raises NotReached."""
    report = Report()
    report.add(_asked(service, [folder / SMALL]))
    if not report.known:
        raise NotReached
    report.add(_asked(service, [folder / lock for lock in locks]))
    return report


def _asked(service: Sequence[str], locks: Sequence[Path]) -> Any:
    command = [
        str(Path(sys.executable).parent / "pip-audit"),
        *service,
        "--disable-pip",
        "--no-deps",
        "--format",
        "json",
    ]
    files = [part for lock in locks for part in ("--requirement", str(lock))]
    quiet = ["--progress-spinner", "off", "--timeout", str(SECONDS)]
    done = subprocess.run([*command, *quiet, *files], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        if any(sign in done.stderr for sign in _AWAY):
            raise NotReached from None
        raise RuntimeError(f"pip-audit failed:\n{done.stderr[-3000:]}") from None


def main(services: Iterable[Sequence[str]] = SERVICES, folder: Path = REQUIREMENTS) -> int:
    """Print what is known; 1 where something is found."""
    for service in services:
        try:
            report = audit(service, folder)
        except NotReached:
            continue
        for line in report.findings:
            print(line)
        if report.unknown:
            print(
                f"not audited, for the service does not know them: {', '.join(sorted(set(report.unknown)))}"
            )
        print(f"{report.known} pinned packages, {len(report.findings)} known vulnerabilities")
        return 1 if report.findings else 0
    print("not audited: the service could not be reached")
    return 0


if __name__ == "__main__":
    sys.exit(main())
