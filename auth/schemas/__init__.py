"""What clients send and get, by noun; the OpenAPI document comes from these models."""
