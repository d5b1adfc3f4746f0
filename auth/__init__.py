"""Auth: accounts, sessions, identity, and the platform's audit trail."""
