"""What an upgrade would change, as a person reads it."""

from __future__ import annotations

from fixtures.helm.manifests import ObjectKey
from fixtures.upgrade.diff import difference
from fixtures.upgrade.diff.changes import Change, headline, render_changes
from tests.unit.release_examples import config_map, manifest, text, workload


def test_the_headline_counts_an_image_once_wherever_it_runs() -> None:
    key = ObjectKey("Deployment", "x", "a")
    found = [
        Change("images", key, "changed", ("container a: x:1 → x:2", "init container b: x:1 → x:2")),
        Change("images", ObjectKey("Job", "x", "b"), "changed", ("container a: x:1 → x:2", "container c: z:1 → z:2")),
        Change("configuration", ObjectKey("ConfigMap", "x", "c"), "changed", ("a: 1 → 2", "b:\n-1\n+2")),
        Change("configuration", ObjectKey("ConfigMap", "x", "d"), "added"),
        Change("hooks", ObjectKey("Job", "x", "b"), "changed", ("spec.x: 1 → 2", "spec.y: 1 → 2")),
    ]
    assert headline(found) == "2 images, 3 configuration keys, 1 hook"


def test_the_text_is_grouped_under_the_headline() -> None:
    old = text(workload(), config_map(a_conf="a {\n}\n"))
    new = text(workload(container={"image": "example.com/main:2"}), config_map(a_conf="b {\n}\n"), manifest("Service"))
    assert render_changes(difference(old, new)).splitlines() == [
        "1 image, 1 configuration key, 2 other",
        "",
        "images",
        "  Deployment example",
        "    container main: example.com/main:1 → example.com/main:2",
        "",
        "configuration",
        "  ConfigMap settings",
        "    a.conf:",
        "    @@ -1,2 +1,2 @@",
        "    -a {",
        "    +b {",
        "     }",
        "",
        "other",
        "  Deployment example",
        "    the pods are replaced",
        "  Service example (added)",
    ]


def test_nothing_to_change_is_said_in_numbers() -> None:
    counted = "nothing\n"
    assert render_changes([]) == counted
