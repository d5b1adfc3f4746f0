"""Commands of the operator: `flask --app payment.app …`."""

from datetime import datetime, timedelta
from typing import BinaryIO

import click
from flask import Flask

from payment.gateway.simulated import settlement
from payment.settlements import day_begins

DAY = click.DateTime(["%Y-%m-%d"])


def register_commands(app: Flask) -> None:
    @app.cli.command("settlement")
    @click.option("--from", "from_on", type=DAY, required=True, help="first day, as the operator counts days")
    @click.option("--to", "to_on", type=DAY, help="last day; the first one by default")
    @click.option("--output", type=click.File("wb"), default="-", help="standard output by default")
    def write_settlement(from_on: datetime, to_on: datetime | None, output: BinaryIO) -> None:
        """Write the simulated gateway's settlement file of some days, as a real one would send it."""
        last = to_on or from_on
        if last < from_on:
            raise click.UsageError("--to is before --from")
        end = day_begins(last.date() + timedelta(days=1))
        for piece in settlement(day_begins(from_on.date()), end):
            output.write(piece)
