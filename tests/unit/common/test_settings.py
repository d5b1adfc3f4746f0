"""Settings fail at start and name the variable."""

from pathlib import Path

import pytest

from auth.config import Settings
from common.settings import SettingsError

GOOD = {
    "AUTH_DATABASE_URL": "sqlite:///x.sqlite3",
    "RABBITMQ_URL": "amqp://localhost",
    "AUTH_KEYS_DIR": "keys",
}


def test_what_is_missing_is_named_with_its_meaning() -> None:
    with pytest.raises(SettingsError, match=r"AUTH_DATABASE_URL is not set .*RABBITMQ_URL is not set"):
        Settings.from_env({"AUTH_KEYS_DIR": "keys"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH_PORT", "many"),
        ("AUTH_POOL_SIZE", "0"),
        ("AUTH_DATABASE_URL", "mysql://x"),
        ("AUTH_DATABASE_URL", "sqlite:///:memory:"),
        ("RABBITMQ_TOPOLOGY", "guess"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env(GOOD | {variable: value})
    assert variable in str(error.value)


def test_a_secret_in_a_url_is_not_shown() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env(GOOD | {"AUTH_DATABASE_URL": "mysql://user:hunter2@host/db"})
    assert "hunter2" not in str(error.value)


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@db/auth\n")
    env = {name: value for name, value in GOOD.items() if name != "AUTH_DATABASE_URL"}
    settings = Settings.from_env(env | {"AUTH_DATABASE_URL_FILE": str(tmp_path / "url")})
    assert settings.database_url == "postgresql+psycopg://u:p@db/auth"
    with pytest.raises(SettingsError, match="AUTH_DATABASE_URL_FILE"):
        Settings.from_env(env | {"AUTH_DATABASE_URL_FILE": str(tmp_path / "nothing")})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings.from_env(GOOD).port = 1  # type: ignore[misc]
