"""A release of charts: the options that it is installed with."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.helm.release import install_options


@pytest.mark.parametrize(
    ("names", "makes"),
    [
        ({}, "true"),
        ({"server": {"name": "identity"}}, "true"),
        ({"server": {"name": "spire"}, "system": {"name": "spire"}}, "false"),
        ({"server": {"name": "spire-system"}}, "false"),
        ({"server": {"name": "spire-mgmt"}}, "false"),
    ],
)
def test_a_release_makes_its_namespaces_unless_one_is_there_already(names: dict[str, Any], makes: str) -> None:
    values = {"global": {"spire": {"namespaces": names}}}
    assert install_options(values) == ("--set", f"global.spire.namespaces.create={makes}")
