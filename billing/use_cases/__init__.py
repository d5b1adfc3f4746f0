"""Decisions and writes of billing, by noun. Whatever moves a customer's money locks the account's row first."""
