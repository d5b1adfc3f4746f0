"""What every test may ask for; the fixtures live beside what they give, in `tests.support`."""

import gc
import re
import signal

from common import ids

_ID = re.compile(ids.UUID_PATTERN)

pytest_plugins = ["tests.support.postgres", "tests.support.rabbitmq", "tests.support.platform"]

gc.disable()  # what collecting makes stays until the end: going through it again and again is a sixth of a run


def pytest_collection_finish() -> None:
    """From here on there is garbage, among ten thousand things rather than among all that was imported."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


def pytest_configure() -> None:
    """A run that is told to stop (a CI's time limit) ends its servers as after Ctrl-C, rather than leave them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A test's name does not change from run to run because a parameter holds a fresh id: xdist's workers compare."""
    text = val.decode("latin-1") if isinstance(val, bytes) else val
    if not isinstance(text, str) or not _ID.search(text):
        return None
    return _ID.sub("ID", text).encode("unicode_escape").decode()
