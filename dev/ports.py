"""TCP ports of the loopback interface: which are free, and who listens on one that is not."""

import random
import socket

import psutil

LOOPBACK = "127.0.0.1"
_SERVERS = (12_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now, on every interface of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 (only a probe: it never listens)
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Ports that are free now and are given to nobody else of ours while this process lives.

    Below those that the system gives to outgoing connections: one of them may go to a client before the server that it
    is meant for has started.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*_SERVERS)  # noqa: S311
        if is_free(port) and _claim(port):
            ports.append(port)
    return ports


def _claim(port: int) -> bool:
    """Whether no process has been given the port: each holds a name for it that goes with the process, since seconds
    pass before a server listens, and several runs start servers at once."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0sri-care port {port}")
    except OSError:
        name.close()
        return False
    name.detach()
    return True


def listener(port: int) -> str:
    """The program and pid that listen on the port as far as we may see them, for a message."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens_on = getattr(connection.laddr, "port", None)
            if connection.status == psutil.CONN_LISTEN and listens_on == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    except psutil.Error:
        pass
    return "another program"
