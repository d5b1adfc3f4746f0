"""Decisions and writes of chat, by what they are about."""
