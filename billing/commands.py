"""Commands of the operator: `flask --app billing.app …`."""

from pathlib import Path

import click
from flask import Flask
from pydantic import TypeAdapter, ValidationError

from billing.schemas import PlanIn
from billing.use_cases.plans import seed_plans
from common.db import rerun_lost_race, transaction

PLANS = Path(__file__).parent / "plans.json"


def register_commands(app: Flask) -> None:
    @app.cli.command("seed-plans")
    @click.option(
        "--file",
        "path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=PLANS,
        help="plans other than those that come with the service",
    )
    def seed(path: Path) -> None:
        """Offer the plans whose codes are not there yet; safe to repeat, changes none that is."""
        try:
            plans = TypeAdapter(list[PlanIn]).validate_json(path.read_bytes())
        except ValidationError as error:
            raise click.ClickException(f"{path}: {error}") from None

        @rerun_lost_race
        def offer() -> list[str]:
            with transaction() as session:
                return seed_plans(session, plans)

        click.echo(f"{len(offer())} of {len(plans)} plans added")
