"""Labels, node selectors and tolerations as they are given."""

from __future__ import annotations

import pytest

from fixtures.k8s.workload_settings import WorkloadSettings, parse_labels, parse_tolerations


def test_labels_are_taken_as_kubernetes_has_them() -> None:
    given = ["pool=spire", "example.org/cost-centre=4711", "istio-injection=", "pool=spire"]
    assert parse_labels("--namespace-label", given) == {
        "pool": "spire",
        "example.org/cost-centre": "4711",
        "istio-injection": "",
    }


NO_LABELS = ("pool", "=spire", "pool=a b", "-pool=a", f"pool={'a' * 64}", "UP.org/pool=a", "a=b=c")


@pytest.mark.parametrize("text", NO_LABELS)
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--node-selector .*: wanted KEY=VALUE, a label as Kubernetes has it$"):
        parse_labels("--node-selector", [text])


def test_a_label_has_one_value() -> None:
    with pytest.raises(ValueError, match=r"^--node-selector: pool cannot be both a and b$"):
        parse_labels("--node-selector", ["pool=a", "pool=b"])


@pytest.mark.parametrize(
    ("text", "toleration"),
    [
        ("dedicated", {"key": "dedicated", "operator": "Exists"}),
        ("dedicated:NoSchedule", {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}),
        ("dedicated=spire", {"key": "dedicated", "operator": "Equal", "value": "spire"}),
        (
            "example.org/dedicated=spire:NoExecute",
            {"key": "example.org/dedicated", "operator": "Equal", "value": "spire", "effect": "NoExecute"},
        ),
    ],
)
def test_a_toleration_is_that_of_a_taint(text: str, toleration: dict[str, str]) -> None:
    assert parse_tolerations("--toleration", [text]) == (toleration,)


@pytest.mark.parametrize("text", ["", ":NoSchedule", "dedicated:noschedule", "dedicated=a:b", "a b"])
def test_what_is_no_taint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--toleration .*: wanted a taint KEY\[=VALUE\]\[:EFFECT\], where EFFECT"):
        parse_tolerations("--toleration", [text])


def test_what_a_pod_asks_for_itself_stays() -> None:
    pod = {"nodeSelector": {"pool": "own"}, "tolerations": [{"operator": "Exists"}]}
    WorkloadSettings(node_selector={"pool": "given", "zone": "a"}, tolerations=({"key": "k"},)).place(pod)
    assert pod == {"nodeSelector": {"pool": "own", "zone": "a"}, "tolerations": [{"operator": "Exists"}, {"key": "k"}]}
    untouched: dict[str, object] = {}
    WorkloadSettings().place(untouched)
    assert not untouched
