"""The base of all tables, and the words that several nouns share."""

from enum import StrEnum

from sqlalchemy.orm import DeclarativeBase

from common.db import ModelBase, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class WrongState(Exception):
    """A transition that the model does not have: a defect of the caller, not a refusal."""


class Category(StrEnum):
    DATA = "data"
    ROAMING = "roaming"
    RING_BACK_TONE = "ring_back_tone"
    CALL_WAITING = "call_waiting"
    SMS = "sms"
    VOICE = "voice"
    NUMBER = "number"
    BUNDLE = "bundle"


class Element(StrEnum):
    """A kind of network element."""

    CHARGING = "ocs"
    SUBSCRIBER_REGISTER = "hlr"
    RING_BACK_TONES = "crbt"
    MESSAGE_CENTRE = "smsc"
