"""Who is asking: the client's address and program, as far as they can be believed."""

from ipaddress import ip_address

from flask import Request

from auth.config import Settings


class Clients:
    """Finds the address of a request's client.

    X-Forwarded-For is believed only from a configured proxy, and only as many entries from its end as there are
    proxies in a row: what a client writes into the header itself stands further left and is never looked at.
    """

    def __init__(self, settings: Settings) -> None:
        self._proxies = settings.proxies()
        self._hops = settings.trusted_hops

    def address(self, request: Request) -> str:
        peer = request.remote_addr or ""
        given = request.headers.getlist("X-Forwarded-For")
        if not given:
            return peer
        forwarded = [part.strip() for part in ",".join(given).split(",")]
        if not self._trusted(peer) or len(forwarded) < self._hops:
            return peer
        claimed = forwarded[-self._hops]
        try:
            return str(ip_address(claimed))
        except ValueError:
            return peer

    def _trusted(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)
