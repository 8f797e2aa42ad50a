"""Charts as their project publishes them: in a repository over HTTP and in an OCI registry; and what they pull."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fixtures.artifacts.image_overrides import overrides
from fixtures.config.cluster_values import read_clusters
from fixtures.helm.charts.dependencies import copy_charts
from fixtures.helm.charts.folder import ChartError, ChartPair
from fixtures.helm.charts.helm_command import run_helm
from fixtures.helm.release import RELEASE, RELEASES
from fixtures.helm.values import load, merge
from supply.catalogue import Catalogue
from supply.images import PREFIX
from tests.chart_faults import copy_of_own_chart

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\b")
# Where the projects publish what the local supply builds.
SPIFFE, SIG_STORAGE, DEMO = "ghcr.io/spiffe", "registry.k8s.io/sig-storage", "docker.io/maiariyer"
PLACES = {
    "spire-server": SPIFFE,
    "spire-agent": SPIFFE,
    "oidc-discovery-provider": SPIFFE,
    "spire-controller-manager": SPIFFE,
    "spiffe-csi-driver": SPIFFE,
    "csi-node-driver-registrar": SIG_STORAGE,
    "gospiffe-server": DEMO,
    "gospiffe-client": DEMO,
}


class PublishedCharts:
    """The charts spire and spire-crds, packaged: those in `given`, else this project's own.

    `folder`, which does not exist, is for them: its `packages/` is the repository. The project's own have the images'
    names as they are published, and the newest chart's version; images that others choose by a digest, they choose by
    its tag.
    """

    def __init__(self, made: Catalogue, given: Path | None, folder: Path) -> None:
        self._made = made
        self._helm = made.helm
        source = given or _own_charts(made.charts, folder)
        self.pair: ChartPair = copy_charts(source, folder / "charts", made.helm)
        # Nothing that is built here has the digest of what is published.
        for file in (folder / "charts").rglob("values.yaml"):
            file.write_text(DIGEST.sub("", file.read_text()))
        self.packages = folder / "packages"
        for name in RELEASES:
            run_helm(self._helm, "package", str(folder / "charts" / name), "--destination", str(self.packages))

    def index(self, url: str) -> None:
        """Make the folder of packages a chart repository that is served at this URL. Raises `ChartError`."""
        run_helm(self._helm, "repo", "index", str(self.packages), "--url", url)

    def push(self, registry: str) -> str:
        """Push the packages to a registry (`HOST:PORT`, over HTTP); the value is the `oci://` reference of spire.

        Raises `ChartError`.
        """
        for package in sorted(self.packages.glob("*.tgz")):
            run_helm(self._helm, "push", str(package), f"oci://{registry}/charts", "--plain-http")
        return f"oci://{registry}/charts/{RELEASE}"

    def images(self, values: Mapping[str, Any]) -> dict[str, Path]:
        """What the charts pull with these values on top of the suite's -> the archive of what the local supply has.

        Raises `ChartError` where it has no such image.
        """
        found: dict[str, str] = {}
        for cluster in read_clusters():
            merged = merge(cluster.values, values)
            made = overrides(self.pair, merged, self._helm, self._made.archives)
            if made.unsupplied:
                raise ChartError(f"the local supply has nothing for {', '.join(made.unsupplied)}")
            found |= made.replaced
        return {pulled: self._made.archives[ours] for pulled, ours in found.items()}


def demo_images(made: Catalogue) -> dict[str, Path]:
    """The demo's images under the tutorial's names -> their archives."""
    return {f"{DEMO}/{name}:v0": made.archives[made.image(name)] for name in ("gospiffe-server", "gospiffe-client")}


def _own_charts(source: Path, folder: Path) -> Path:
    own = copy_of_own_chart(source, folder / "own")
    file = own / "spire" / "values.yaml"
    file.write_text(yaml.safe_dump(_published(load(file)), sort_keys=False))
    return own


def _published(values: Any) -> Any:
    """A chart's values with the images of the local supply under the names under which their projects publish them."""
    if not isinstance(values, Mapping):
        return values
    repository = str(values.get("repository", ""))
    name = repository.rpartition("/")[2]
    if f"{values.get('registry')}/{repository}" == f"{PREFIX}/{name}":
        registry, _, path = f"{PLACES[name]}/{name}".partition("/")
        return {**values, "registry": registry, "repository": path}
    return {key: _published(value) for key, value in values.items()}
