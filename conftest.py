"""The plugin list; what each one is for stands at its top."""

pytest_plugins = [
    "fixtures.settings",
    "fixtures.reporting",
    "fixtures.ordering",
    "fixtures.session",
    "fixtures.resilience",
]
