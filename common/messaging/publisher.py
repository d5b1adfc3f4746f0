"""A connection that publishes with confirms, many messages in flight, through pika's public API only.

pika's blocking channel waits for each confirmation (1,600 messages a second); its asynchronous connection does not
(over 10,000). One thread owns a Publisher and lends it time: while it publishes, and by `pump` when idle, so that
heartbeats go out and a lost connection is noticed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from common.messaging.broker import BrokerTrouble

CONNECT_WITHIN_S = 10.0
CONFIRM_WITHIN_S = 30.0
CONFIRM_WITHIN_WHEN_STOPPING_S = 3.0


@dataclass(frozen=True, slots=True)
class Message:
    """What is published; `properties.message_id` tells messages apart."""

    exchange: str
    routing_key: str
    body: bytes
    properties: BasicProperties


@dataclass(slots=True)
class Receipt:
    """What became of messages: the ids of those confirmed, and why others failed."""

    confirmed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Publisher:
    """Not thread-safe but for `wake`."""

    def __init__(self, parameters: pika.URLParameters, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._loop = IOLoop()
        self._channel: Channel | None = None
        self.lost: Exception | None = None
        """What ended the connection or the channel; such a publisher is of no use any more."""
        self._blocked = False
        self._tag = 0
        self._down_to = 0
        self._unconfirmed: dict[int, str] = {}
        self._returned: dict[str, str] = {}
        self._receipt = Receipt()
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_loss,
            on_close_callback=self._on_loss,
            custom_ioloop=self._loop,
        )

    def connect(self) -> None:
        """Return when the channel is ready. Raises pika's error, or BrokerTrouble after 10 s."""
        deadline = time.monotonic() + CONNECT_WITHIN_S
        while self._channel is None:
            self.pump(0.5)
            if time.monotonic() > deadline or self._stopped():
                raise BrokerTrouble("no channel in time")

    def send(self, messages: Sequence[Message]) -> None:
        """Have the messages on their way (mandatory); `settle` tells what became of them."""
        self._raise_loss()
        assert self._channel is not None
        for message in messages:
            self._channel.basic_publish(
                message.exchange, message.routing_key, message.body, message.properties, mandatory=True
            )
            self._tag += 1
            self._unconfirmed[self._tag] = message.properties.message_id or ""

    def settle(self, down_to: int = 0) -> Receipt:
        """Wait until at most `down_to` messages are on their way; what became of the others since the last call.

        Does not raise when the connection is lost: then what is in no receipt is unknown.
        """
        self._down_to = down_to
        waited_from, left = time.monotonic(), len(self._unconfirmed)
        while len(self._unconfirmed) > down_to and self.lost is None:
            self._run(0.5)
            if self._blocked or len(self._unconfirmed) < left:
                waited_from, left = time.monotonic(), len(self._unconfirmed)
            patience = CONFIRM_WITHIN_WHEN_STOPPING_S if self._stopped() else CONFIRM_WITHIN_S
            if time.monotonic() - waited_from > patience:
                self.lost = BrokerTrouble("no confirmation in time")
        receipt, self._receipt = self._receipt, Receipt()
        return receipt

    def pump(self, seconds: float) -> None:
        """Serve the connection for so long, or until woken. Raises what ended the connection."""
        self._raise_loss()
        self._run(seconds)
        self._raise_loss()

    def wake(self) -> None:
        """End the owner's current `pump` (from any thread)."""
        self._loop.add_callback_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Say goodbye, for at most a second, and free the sockets. Safe in any state, and to repeat."""
        if self._connection.is_open:
            self._connection.close()
        deadline = time.monotonic() + 1.0
        while not self._connection.is_closed and time.monotonic() < deadline:
            self._run(0.1)
        self._loop.close()

    def _run(self, seconds: float) -> None:
        timer = self._loop.call_later(seconds, self._loop.stop)
        self._loop.start()
        self._loop.remove_timeout(timer)

    def _raise_loss(self) -> None:
        if self.lost is not None:
            raise self.lost

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_loss)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Channel) -> None:
        self._channel = channel
        self._loop.stop()

    def _set_blocked(self, blocked: bool) -> None:
        self._blocked = blocked

    def _on_return(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        """The broker sends this before the message's confirmation."""
        self._returned[properties.message_id or ""] = f"returned: {method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: "pika.frame.Method[Basic.Ack | Basic.Nack]") -> None:
        method = frame.method
        if method.multiple:
            tags = [tag for tag in self._unconfirmed if tag <= method.delivery_tag]
        else:
            tags = [method.delivery_tag]
        refused = isinstance(method, Basic.Nack)
        for tag in tags:
            message_id = self._unconfirmed.pop(tag)
            reason = "refused by the broker (nack)" if refused else self._returned.pop(message_id, None)
            if reason is None:
                self._receipt.confirmed.append(message_id)
            else:
                self._receipt.failed[message_id] = reason
        if len(self._unconfirmed) <= self._down_to:
            self._loop.stop()

    def _on_loss(self, _source: object, error: BaseException | str) -> None:
        if self.lost is None:
            self.lost = error if isinstance(error, Exception) else BrokerTrouble(str(error))
        self._loop.stop()
