"""Decisions and writes of provisioning, by noun."""
