"""Decisions and writes of auth, by noun. Passwords are hashed and tokens signed by the caller, outside the
transaction."""
