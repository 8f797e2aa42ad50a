"""The suites, and the checks that they share."""

import pytest

# pytest rewrites assertions, so that a failed one shows its values, in test files and in what is named here before it is imported.
pytest.register_assert_rewrite("tests.checks")
