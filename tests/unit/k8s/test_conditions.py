"""What the API server would take, and what it would not, and why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s import conditions
from fixtures.k8s.cluster import Cluster, ClusterError


def test_an_object_is_refused_only_for_the_reason_that_is_expected() -> None:
    manifest = {"kind": "ClusterSPIFFEID", "metadata": {"name": "webhook-check"}}

    def answered(said: str) -> Cluster:
        def apply(asked: Any, *, dry_run: bool) -> None:
            assert (asked, dry_run) == (manifest, True)
            if said:
                raise ClusterError(said)

        return cast(Cluster, SimpleNamespace(label="server", apply=apply))

    # As the API server says it where its webhook does not answer, and as the webhook says it.
    unasked = 'failed calling webhook "vclusterspiffeid.kb.io": connect: connection refused'
    invalid = "spec.spiffeIDTemplate: Invalid value"
    for said, value in ((unasked, None), (invalid, True), ("", None)):
        assert conditions.object_refused(answered(said), manifest, "spiffeIDTemplate").look().value is value
    assert conditions.object_accepted(answered(""), manifest).look().value is True
    with pytest.raises(ClusterError, match="connection refused"):
        conditions.object_accepted(answered(unasked), manifest).look()
