"""Commands of the operator: `flask --app auth.app …`."""

from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask

from auth import archive, queries
from auth.errors import WeakPassword
from auth.keys import KeyRing
from auth.models import Language, Role
from auth.parts import Parts, parts
from auth.passwords import refuse_weak
from auth.schemas.fields import to_e164
from auth.use_cases import accounts, audit
from common import ids
from common.db import reading, transaction

CONSOLE = audit.Client(ip="console")


def register_commands(app: Flask) -> None:
    for command in (create_user, rotate_keys, withdraw_key, prune_keys, audit_verify, audit_archive):
        app.cli.add_command(command)


@click.command("create-user")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--phone", required=True, help="any usual form")
@click.option("--name", required=True)
@click.option("--email")
@click.password_option(
    confirmation_prompt=False, prompt_required=True, help="asked for (or read from stdin) when not given"
)
def create_user(role: str, phone: str, name: str, email: str | None, password: str) -> None:
    """Make an account with a role; says so and changes nothing when the phone has one."""
    try:
        number = to_e164(phone)
    except ValueError as error:
        raise click.ClickException(f"--phone: {error}") from None
    try:
        refuse_weak(password, number, name, email)
    except WeakPassword as error:
        raise click.ClickException(error.detail) from None
    with reading() as session:
        if queries.find_login(session, phone=number, email=None) is not None:
            click.echo(f"{number} has an account")
            return
    password_hash = parts().hashing.hash(password)
    with transaction() as session:
        user = accounts.register_user(
            session,
            user_id=ids.new_id(),
            phone=number,
            email=email,
            name=name,
            language=Language.ENGLISH,
            password_hash=password_hash,
            roles=(Role(role),),
        )
        audit.record_act(session, "admin.user.created", user_id=user.id, client=CONSOLE, data={"role": role})
    click.echo(f"made {role} {user.id} {number}")


@click.command("rotate-keys")
@click.option("--at-once", is_flag=True, help="sign with it now (the old key is no longer trusted)")
def rotate_keys(at_once: bool) -> None:
    """Add a signing key. It signs once every verifier has had time to learn it; older tokens stay valid."""
    click.echo(_ring(parts()).rotate(at_once=at_once))


@click.command("withdraw-key", context_settings={"ignore_unknown_options": True})  # a kid may begin with "-"
@click.argument("kid")
def withdraw_key(kid: str) -> None:
    """Take a key away whose private part is known to others; tokens signed with it are refused."""
    try:
        found = _ring(parts()).withdraw(kid)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException(f"there is no key {kid}")


@click.command("prune-keys")
def prune_keys() -> None:
    """Take away the keys that no living token is signed with (the worker does, every hour)."""
    for kid in _ring(parts()).prune(parts().settings.access_token_s):
        click.echo(kid)


@click.command("audit-verify")
@click.option(
    "--archive", "file", type=click.Path(exists=True, path_type=Path), help="check this file instead"
)
def audit_verify(file: Path | None) -> None:
    """Check the audit trail's chain; exit 1 where it is broken."""
    if file is not None:
        try:
            head = archive.verify_file(file)
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise click.ClickException(f"{file.name}: {error}") from None
        click.echo(
            f"{file.name}: entries {head['first_seq']} to {head['last_seq']} hold, last {head['last_hash']}"
        )
        return
    verdict = audit.verify_chain()
    if verdict.broken_at is not None:
        raise click.ClickException(f"broken at {verdict.broken_at}: {verdict.reason}")
    click.echo(
        f"{verdict.entries} entries hold, {verdict.first_seq} to {verdict.last_seq}, last {verdict.last_hash}"
    )


@click.command("audit-archive")
@click.option(
    "--before", help="YYYY-MM: archive the months before it (default: what is older than the retention)"
)
def audit_archive(before: str | None) -> None:
    """Move whole months of the audit trail to compressed files that prove their place in the chain."""
    settings = parts().settings
    try:
        given = datetime.strptime(before, "%Y-%m").replace(tzinfo=UTC) if before else None
    except ValueError:
        raise click.ClickException("--before: must be YYYY-MM") from None
    limit = given or archive.cutoff(settings.audit_months)
    if limit > archive.cutoff(0):
        raise click.ClickException("--before: the present month is not whole yet")
    for row in archive.archive_before(limit, settings.folder("audit")):
        click.echo(f"{row.file}: entries {row.first_seq} to {row.last_seq}, sha256 {row.sha256}")


def _ring(found: Parts) -> KeyRing:
    if not isinstance(found.keys, KeyRing):
        raise click.ClickException("the signing key comes from AUTH_SIGNING_KEY: change it there")
    return found.keys
