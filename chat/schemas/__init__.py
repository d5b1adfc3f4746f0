"""Requests, responses and Socket.IO payloads of chat."""
