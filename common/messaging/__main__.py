"""`python -m common.messaging dead list|show|replay|drop`: the dead messages on the broker at RABBITMQ_URL.

A service's own broker user sees the queues of that service, which are all that it may read; any other user sees all.
Exit codes: 0 done · 1 nothing matched, or the broker refused · 2 wrong usage.
"""

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
import pika
import pika.exceptions

from common import contracts, settings
from common.messaging import letters
from common.messaging.broker import BROKER_AWAY
from common.messaging.dead_letters import DeadLetter, Pile, letters_of, opened

_USAGE = """\
  list                              what is dead, and why (nothing is removed)
  show    --id EVENT_ID             one message with its headers, whole: it may hold personal data
  replay  --id EVENT_ID | --all     back to its queue, with all its retries
  drop    --id EVENT_ID | --all     gone for good
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        with opened(options.url) as connection:
            return COMMANDS[options.command](connection, options)
    except pika.exceptions.ChannelClosedByBroker as error:
        return _refuse(f"the broker refuses: {error.reply_text}")
    except BROKER_AWAY as error:
        return _refuse(f"cannot reach the broker at RABBITMQ_URL ({type(error).__name__})")


def list_dead(connection: pika.BlockingConnection, options: argparse.Namespace) -> int:
    found: list[DeadLetter] = []
    total = 0
    for queue in options.queues:
        with letters_of(connection, queue) as pile:
            total += len(pile)
            found += itertools.islice(pile, options.limit - len(found))
    for letter in sorted(found, key=lambda each: str(each.headers.get(letters.DEAD_AT, ""))):
        _print(" | ".join(f"{name}={value}" for name, value in letter.summary().items() if value != ""))
    _print(f"{total} dead" + (f", {len(found)} shown: use --limit or --queue" if len(found) < total else ""))
    return 0


def show_dead(connection: pika.BlockingConnection, options: argparse.Namespace) -> int:
    for _pile, letter in _chosen(connection, options):
        headers = {name: str(value) for name, value in letter.headers.items()}
        whole = letter.summary() | {"headers": headers, "message": letter.document()}
        _print(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())
        return 0
    return _nothing(options)


def replay_dead(connection: pika.BlockingConnection, options: argparse.Namespace) -> int:
    count = 0
    for pile, letter in _chosen(connection, options):
        pile.replay(letter)
        count += 1
    return _tell(count, "sent back", options)


def drop_dead(connection: pika.BlockingConnection, options: argparse.Namespace) -> int:
    count = 0
    for pile, letter in _chosen(connection, options):
        pile.drop(letter)
        count += 1
    return _tell(count, "dropped", options)


COMMANDS = {"list": list_dead, "show": show_dead, "replay": replay_dead, "drop": drop_dead}


def _chosen(
    connection: pika.BlockingConnection, options: argparse.Namespace
) -> Iterator[tuple[Pile, DeadLetter]]:
    """The messages that --id or --all means, up to --limit."""
    count = 0
    for queue in options.queues:
        with letters_of(connection, queue) as pile:
            for letter in pile:
                if options.id is not None and letter.event_id != options.id:
                    continue
                if options.limit is not None and count >= options.limit:
                    return
                count += 1
                yield pile, letter


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m common.messaging dead",
        description=__doc__,
        epilog=_USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["dead"], help=argparse.SUPPRESS)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--queue", help="only this queue's (its own name, without .dead)")
    parser.add_argument("--id", help="only the event with this id")
    parser.add_argument("--all", action="store_true", help="every dead message (replay, drop)")
    parser.add_argument("--limit", type=int, help="at most so many (list: 50)")
    options = parser.parse_args(arguments)
    try:
        options.url = settings.read(os.environ, "RABBITMQ_URL")
    except settings.SettingsError as error:
        parser.error(str(error))
    if not options.url:
        parser.error("RABBITMQ_URL is not set")
    if options.queue is not None and options.queue not in contracts.queues():
        parser.error(f"no queue {options.queue}; there are {', '.join(contracts.queues())}")
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    if options.command != "list" and not (options.id or (options.all and options.command != "show")):
        parser.error(f"{options.command} needs --id" + ("" if options.command == "show" else " or --all"))
    if options.command == "list" and options.limit is None:
        options.limit = 50
    options.queues = [options.queue] if options.queue else _readable(options.url)
    return options


def _readable(url: str) -> list[str]:
    """The queues that the URL's user may read."""
    user = urlsplit(url).username
    return [queue for queue in contracts.queues() if queue.startswith(f"{user}.")] or list(contracts.queues())


def _tell(count: int, done: str, options: argparse.Namespace) -> int:
    if count == 0 and options.id is not None:
        return _nothing(options)
    _print(f"{count} {done}")
    return 0


def _nothing(options: argparse.Namespace) -> int:
    return _refuse(f"no dead message with the event id {options.id} in {', '.join(options.queues)}")


def _refuse(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1


def _print(line: Any) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
