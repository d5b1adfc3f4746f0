"""Notification: every message to a customer, in the app and out of the house."""
