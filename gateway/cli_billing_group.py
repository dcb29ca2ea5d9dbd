"""`onereel billing`: the group; each command is a module of its own."""

import click

from gateway.cli_billing import reconcile
from gateway.cli_usage import report


@click.group()
def billing() -> None:
    """Compare the books with the upstreams and with Stripe."""


billing.add_command(reconcile)
billing.add_command(report)
