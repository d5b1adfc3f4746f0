"""`python -m chat.server`: the process that serves REST and Socket.IO of chat. The worker is another one."""

import os
import signal
import warnings


def main() -> None:
    """Serve until SIGTERM or SIGINT; exits 0 within 10 s of it, 1 when it cannot start."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until `serving` listens: nothing to finish yet
    if os.environ.get("CHAT_ASYNC_MODE") in (None, "", "eventlet"):
        _patch()
    from chat import serving  # only now: whatever it imports must find the patched modules

    serving.serve()


def _patch() -> None:
    """Make everything that blocks switch to another green thread instead; first thing in the process."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # eventlet's own advice against itself, known: CHAT_ASYNC_MODE is the way out
        import eventlet
    eventlet.monkey_patch()
    # The binary build of psycopg waits in C and freezes the loop (measured: no switch during a query of one second).
    # Waiting by Python's selectors is cooperative (98 of 100), and needs no libpq of the system, as PSYCOPG_IMPL=python
    # does.
    os.environ.setdefault("PSYCOPG_WAIT_FUNC", "wait_selector")


if __name__ == "__main__":
    main()
