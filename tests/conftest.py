"""What every test may ask for; the fixtures live beside what they give, in `tests.support`."""

import signal

pytest_plugins = ["tests.support.postgres", "tests.support.rabbitmq", "tests.support.platform"]


def pytest_configure() -> None:
    """A run that is told to stop (a CI's time limit) ends its servers as after Ctrl-C, rather than leave them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
