"""Provisioning: the catalogue, customers' orders, and the live services on the network."""
