"""Requests and responses of notification."""
