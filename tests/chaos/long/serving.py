"""`onereel serve` as the long form starts it: with its clock moved and its milestones written down.

Takes the options of `onereel serve`; the environment is that of tests.chaos.process.
"""

import sys
from functools import partial

from gateway import cli, cli_serve
from gateway.app import create_app
from tests.chaos.process import prepare


def main() -> None:
    cli_serve.__dict__["create_app"] = partial(create_app, **prepare())
    cli.main(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    main()
