"""Commands of the operator: `flask --app auth.app …`."""

import click
from flask import Flask, current_app

from auth import queries, use_cases
from auth.models import Language, Role
from auth.passwords import hash_password
from auth.schemas import to_e164
from common import ids
from common.db import reading, transaction


def register_commands(app: Flask) -> None:
    @app.cli.command("create-user")
    @click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
    @click.option("--phone", required=True, help="any usual form")
    @click.option("--name", required=True)
    @click.option("--email")
    @click.password_option(
        confirmation_prompt=False, prompt_required=True, help="asked for (or read from stdin) when not given"
    )
    def create_user(role: str, phone: str, name: str, email: str | None, password: str) -> None:
        """Make an account with a role; says so and changes nothing when the phone has one."""
        if len(password) < 8:
            raise click.ClickException("the password needs at least 8 characters")
        try:
            number = to_e164(phone)
        except ValueError as error:
            raise click.ClickException(f"--phone: {error}") from None
        with reading() as session:
            if queries.find_login(session, phone=number, email=None) is not None:
                click.echo(f"{number} has an account")
                return
        password_hash = hash_password(password)
        with transaction() as session:
            user = use_cases.register_user(
                session,
                user_id=ids.new_id(),
                phone=number,
                email=email,
                name=name,
                language=Language.ENGLISH,
                password_hash=password_hash,
                roles=(Role(role),),
            )
        click.echo(f"made {role} {user.id} {number}")

    @app.cli.command("rotate-keys")
    def rotate_keys() -> None:
        """Sign with a new key from now on; tokens signed with the older ones stay valid until they expire."""
        click.echo(current_app.extensions["sricare_keys"].rotate())
