"""Ports for servers that are about to start."""

import subprocess
import sys

import pytest

from dev import ports

GIVE_AND_STAY = "from dev.ports import free_ports; print(free_ports(1)[0], flush=True); input()"


def test_a_port_that_another_process_was_given_is_given_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GIVE_AND_STAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        drawn = iter([theirs, theirs, *ports.free_ports(1), *range(*ports._SERVERS)])
        monkeypatch.setattr(ports.random, "randrange", lambda *_: next(drawn))
        assert theirs not in ports.free_ports(2)
        other.communicate("\n")
