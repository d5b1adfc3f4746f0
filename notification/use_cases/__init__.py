"""Decisions and writes of notification."""
