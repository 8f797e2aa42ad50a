"""The plugin list; what each one is for stands at its top."""

pytest_plugins = [
    "fixtures.plugins.options",
    "fixtures.plugins.reporting",
    "fixtures.plugins.prerequisites",
    "fixtures.plugins.preflight",
    "fixtures.plugins.session",
    "fixtures.plugins.diagnosis",
    "fixtures.plugins.recording",
    "fixtures.plugins.upgrade",
    "fixtures.plugins.resilience",
]
