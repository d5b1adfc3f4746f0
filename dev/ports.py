"""TCP ports of the loopback interface: which are free, and who listens on one that is not."""

import socket

import psutil

LOOPBACK = "127.0.0.1"


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
    """Different ports that are free now; another process may take one before it is used."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


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
