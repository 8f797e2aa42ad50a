"""The suites, and the checks that they share."""

import pytest

# pytest rewrites assertions, so that a failed one shows its values, in test files and in modules that are named before
# their import.
pytest.register_assert_rewrite("tests.checks", "tests.known_secrets")
