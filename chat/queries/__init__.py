"""Reads of chat, and who may see what."""
