"""The plugin list; what each one is for stands at its top."""

pytest_plugins = [
    "fixtures.plugins.options",
    "fixtures.plugins.reporting",
    "fixtures.plugins.prerequisites",
    "fixtures.plugins.preflight",
    "fixtures.plugins.session.run",
    "fixtures.plugins.session.supply",
    "fixtures.plugins.session.clusters",
    "fixtures.plugins.session.federation",
    "fixtures.plugins.session.demo",
    "fixtures.plugins.diagnosis",
    "fixtures.plugins.recording",
    "fixtures.plugins.upgrade",
    "fixtures.plugins.resilience",
]
