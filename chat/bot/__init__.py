"""Who answers first: the `Responder` protocol and the rule bot, its embedded default. Reads and writes nothing."""

from chat.bot.responder import Answer, NoBot, Offer, OrderOffer, PayOffer, Question, Responder
from chat.bot.rules import RuleBot

__all__ = ["Answer", "NoBot", "Offer", "OrderOffer", "PayOffer", "Question", "Responder", "RuleBot"]
