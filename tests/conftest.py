"""What every test may ask for; the fixtures live beside what they give, in `tests.support`."""

pytest_plugins = ["tests.support.postgres", "tests.support.rabbitmq", "tests.support.platform"]
