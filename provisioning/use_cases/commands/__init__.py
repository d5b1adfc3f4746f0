"""Commands to network elements: put down, claimed, then (outside, by `jobs`) the call, then settled by its answer."""

from provisioning.use_cases.commands.claims import claim_commands
from provisioning.use_cases.commands.held import services_of
from provisioning.use_cases.commands.outcomes import Answered, give_up_order, settle_commands, unused
from provisioning.use_cases.commands.telling import job_of, tell_element

__all__ = [
    "Answered",
    "claim_commands",
    "give_up_order",
    "job_of",
    "services_of",
    "settle_commands",
    "tell_element",
    "unused",
]
