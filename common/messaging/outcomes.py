"""How a handler says that an event cannot be handled: not yet, or never."""


class NotYet(Exception):
    """What the event refers to is not here yet (arrival out of order): deliver it again later."""


class Rejected(Exception):
    """The event can never be handled; it goes to the dead queue with this message as its reason."""
