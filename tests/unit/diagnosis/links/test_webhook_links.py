"""The controller manager's webhook, asked by dry runs about each kind that it should validate."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.links.webhook_links import check_webhook, unset_policy
from fixtures.k8s.cluster import ClusterError
from fixtures.spire.installation import Spire
from tests.unit.own_chart import CLASS_NAME, LAYOUT

# As the API server of Kubernetes 1.36 says it.
INVALID = {
    "ClusterSPIFFEID": 'admission webhook "vclusterspiffeid.kb.io" denied the request: invalid spiffeIDTemplate value: '
    "template: clusterSPIFFEID:1: unclosed action",
    "ClusterFederatedTrustDomain": 'admission webhook "vclusterfederatedtrustdomain.kb.io" denied the request: '
    'invalid bundleEndpointURL value: scheme must be "https"',
}
UNREACHED = 'failed calling webhook "vclusterspiffeid.kb.io": failed to call webhook: Post "https://w": EOF'
NO_SERVICE = 'failed calling webhook "vclusterspiffeid.kb.io": service "webhook" not found'


def spire(said: dict[tuple[str, str], str], webhook: str = "webhook", *, is_ours: bool = True) -> Spire:
    """SPIRE whose API server says this of (kind, name of the object's field) that is bad, or `good`."""

    def apply(asked: dict[str, Any], *, dry_run: bool) -> None:
        assert dry_run
        assert asked["spec"]["className"] == CLASS_NAME
        is_good = "}}" in asked["spec"].get("spiffeIDTemplate", "") or "https://" in str(asked["spec"])
        words = said.get((asked["kind"], "good" if is_good else "bad"), "" if is_good else INVALID[asked["kind"]])
        if words:
            raise ClusterError(words)

    layout = replace(LAYOUT, controller_manager=replace(LAYOUT.controller_manager, webhook=webhook))
    found = SimpleNamespace(
        cluster=SimpleNamespace(label="server", apply=apply), layout=layout, was_installed_by_run=is_ours
    )
    return cast(Spire, found)


def test_a_webhook_that_validates_both_kinds_is_not_named() -> None:
    assert list(check_webhook(spire({}))) == []


@pytest.mark.parametrize("kind", sorted(INVALID))
@pytest.mark.parametrize(
    ("which", "said", "words", "cause", "on_its_way"),
    [
        ("bad", "", "it is accepted: no webhook is asked about it", "do not name the resource", False),
        ("good", INVALID["ClusterSPIFFEID"], "denied the request", "refuses the object", False),
        ("bad", UNREACHED, "EOF", "does not answer", True),
        ("good", NO_SERVICE, "not found", "names a Service that is not there", False),
    ],
)
def test_a_webhook_that_does_not_validate_a_kind_is_named(
    kind: str, which: str, said: str, words: str, cause: str, *, on_its_way: bool
) -> None:
    answers = {(kind, which): said}
    if not said:
        # Neither of both is asked about.
        answers = {(kind, "bad"): ""}
    (found,) = check_webhook(spire(answers))
    assert found.link == "webhook"
    assert found.sentence.startswith(f"ValidatingWebhookConfiguration webhook: server: {kind} webhook-check ")
    assert words in found.sentence
    assert cause in found.cause
    assert found.on_its_way is on_its_way


def test_a_release_without_a_webhook_and_somebody_elses_are_not_asked() -> None:
    broken = {("ClusterSPIFFEID", "bad"): UNREACHED}
    assert list(check_webhook(spire(broken))) != []
    assert list(check_webhook(spire(broken, webhook=""))) == []
    assert list(check_webhook(spire(broken, is_ours=False))) == []


@pytest.mark.parametrize(
    ("wanted", "name", "policies", "others"),
    [
        ("Fail", "webhook", ["Fail", "Fail"], ""),
        ("Fail", "webhook", ["Fail", "Ignore"], "Ignore"),
        ("Ignore", "webhook", ["Fail"], "Fail"),
        # This project's chart has no such value, and a release need not have a webhook.
        (None, "webhook", ["Ignore"], ""),
        ("Fail", "", [], ""),
    ],
)
def test_a_policy_that_no_hook_has_set_is_named(
    wanted: str | None, name: str, policies: list[str], others: str
) -> None:
    found = spire({}, name)
    rules = [SimpleNamespace(api_groups=["spire.spiffe.io"])]
    webhooks = [SimpleNamespace(failure_policy=each, rules=rules) for each in policies]
    webhooks.append(SimpleNamespace(failure_policy="Ignore", rules=[SimpleNamespace(api_groups=["other.example"])]))
    admission = SimpleNamespace(
        read_validating_webhook_configuration={"webhook": SimpleNamespace(webhooks=webhooks)}.__getitem__
    )
    vars(found.cluster)["admission"] = admission
    key = "controllerManager.validatingWebhookConfiguration.failurePolicy"
    values = {"spire-server": {"controllerManager": {"validatingWebhookConfiguration": {"failurePolicy": wanted}}}}
    words = f"ValidatingWebhookConfiguration webhook has {others}, and spire-server.{key} is {wanted}"
    assert unset_policy(found, values if wanted else {}) == (words if others else "")
    # Up to 0.30 nothing sets it then.
    assert unset_policy(found, {**values, "global": {"installAndUpgradeHooks": {"enabled": False}}}) == ""
