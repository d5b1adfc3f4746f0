"""Commands of the operator: `flask --app provisioning.app …`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import click
from flask import Flask
from pydantic import TypeAdapter, ValidationError

from common import clock
from common.db import reading, rerun_lost_race, transaction
from provisioning import queries
from provisioning.cache import catalogue_cache
from provisioning.gateway import NetworkElements, connect_elements
from provisioning.schemas import OfferingIn, RingToneIn
from provisioning.use_cases.catalogue import seed_offerings
from provisioning.use_cases.network import Drift, drift_of, repair_drift
from provisioning.use_cases.ring_tones import seed_tones

BATCH = 100
CATALOGUE = Path(__file__).parent / "catalogue.json"
TONES = Path(__file__).parent / "ring_tones.json"


def read_catalogue(path: Path) -> list[OfferingIn]:
    """The offerings in a file. Raises pydantic's ValidationError."""
    return TypeAdapter(list[OfferingIn]).validate_json(path.read_bytes())


def audit_network(
    elements: NetworkElements, since: datetime, *, repair: bool
) -> Iterator[tuple[Drift, bool]]:
    """Each service that its element has otherwise than we believe, and whether the element is being told."""
    after = ""
    while True:
        with reading() as session:
            services = queries.services_to_audit(session, after, since, BATCH)
        for service in services:
            drift = drift_of(service, elements.inspect(service.element, service.id))
            if drift is not None:
                repaired = False
                if repair:
                    with transaction() as session:
                        repaired = repair_drift(session, drift)
                yield drift, repaired
        if len(services) < BATCH:
            return
        after = services[-1].id


def register_commands(app: Flask) -> None:
    @app.cli.command("audit-network")
    @click.option("--repair", is_flag=True, help="have the elements told what we believe")
    @click.option("--days", default=30, show_default=True, help="also services terminated since so long ago")
    def audit(repair: bool, days: int) -> None:
        """Compare each service with what its network element says; prints a line of JSON per difference.

        Exits 1 when there is a difference that is not being repaired.
        """
        elements = connect_elements(app.extensions["sricare_settings"])
        found = left = 0
        for drift, repaired in audit_network(elements, clock.now() - timedelta(days=days), repair=repair):
            click.echo(json.dumps({**asdict(drift), "repaired": repaired}))
            found, left = found + 1, left + (not repaired)
        elements.close()
        click.echo(f"{found} differences, {left} of them left", err=True)
        if left:
            raise SystemExit(1)

    @app.cli.command("seed-catalogue")
    @click.option(
        "--file",
        "path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=CATALOGUE,
        help="a catalogue other than the one that comes with the service",
    )
    def seed_catalogue(path: Path) -> None:
        """Add the offerings and ring tones that are not there yet; safe to repeat, changes none that is."""
        try:
            offerings = read_catalogue(path)
        except ValidationError as error:
            raise click.ClickException(f"{path}: {error}") from None

        @rerun_lost_race
        def seed() -> list[str]:
            with transaction() as session:
                seed_tones(session, TypeAdapter(list[RingToneIn]).validate_json(TONES.read_bytes()))
                return seed_offerings(session, offerings)

        added = seed()
        catalogue_cache().drop()
        click.echo(f"{len(added)} of {len(offerings)} offerings added")
