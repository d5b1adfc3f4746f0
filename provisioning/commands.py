"""Commands of the operator: `flask --app provisioning.app …`."""

from pathlib import Path

import click
from flask import Flask
from pydantic import TypeAdapter, ValidationError

from common.db import rerun_lost_race, transaction
from provisioning.schemas import OfferingIn
from provisioning.use_cases.catalogue import seed_offerings

CATALOGUE = Path(__file__).parent / "catalogue.json"


def read_catalogue(path: Path) -> list[OfferingIn]:
    """The offerings in a file. Raises pydantic's ValidationError."""
    return TypeAdapter(list[OfferingIn]).validate_json(path.read_bytes())


def register_commands(app: Flask) -> None:
    @app.cli.command("seed-catalogue")
    @click.option(
        "--file",
        "path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=CATALOGUE,
        help="a catalogue other than the one that comes with the service",
    )
    def seed_catalogue(path: Path) -> None:
        """Add the offerings that the catalogue does not have yet; safe to repeat, changes none that it has."""
        try:
            offerings = read_catalogue(path)
        except ValidationError as error:
            raise click.ClickException(f"{path}: {error}") from None

        @rerun_lost_race
        def seed() -> list[str]:
            with transaction() as session:
                return seed_offerings(session, offerings)

        added = seed()
        click.echo(f"{len(added)} of {len(offerings)} offerings added")
