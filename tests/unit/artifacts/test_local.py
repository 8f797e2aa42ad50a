"""The local supply: what is installed of Tornjak, whose images it does not build."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.artifacts.local import _tornjak_values
from fixtures.config.settings import Settings

BACKEND, FRONTEND = "ghcr.io/spiffe/tornjak-backend:v2.1.0", "localhost/tornjak-frontend:v2.1.0"


@pytest.mark.parametrize(
    ("handed", "enabled"),
    [
        ({BACKEND, FRONTEND}, {"spire-server": {"tornjak": {"enabled": True}}, "tornjak-frontend": {"enabled": True}}),
        ({BACKEND}, {"spire-server": {"tornjak": {"enabled": True}}}),
        ({FRONTEND, "example.com/other:1"}, {"tornjak-frontend": {"enabled": True}}),
        ({"example.com/other:1"}, {}),
    ],
)
def test_of_tornjak_that_is_installed_whose_image_is_handed_over(handed: set[str], enabled: dict[str, object]) -> None:
    assert _tornjak_values(cast(Settings, SimpleNamespace(handed_images=frozenset(handed)))) == enabled
