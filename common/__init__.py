"""Mechanisms and published contracts that the six services share; nothing that belongs to one service."""
