"""Decisions and writes of payment, by noun."""
