"""The plugin list; what each one is for stands at its top."""

pytest_plugins = ["fixtures.reporting", "fixtures.settings", "fixtures.session", "fixtures.ordering"]
