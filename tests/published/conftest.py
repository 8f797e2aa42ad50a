"""What is published, as stand-ins that speak the real protocols, and the suite run through them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.config.settings import Settings
from fixtures.report.run import Report
from supply import catalogue
from supply.catalogue import Catalogue
from supply.host import Engine
from tests.stand_ins.faulty_registry import Authority, FaultyRegistry, with_tokens
from tests.stand_ins.published_charts import PublishedCharts, demo_images
from tests.stand_ins.registry import Registry, SeparateNetwork
from tests.stand_ins.web_server import FileServer, publish_programs, serving
from tests.tools.runs import Result, Run

CLUSTER_PREFIX = "published-"
STAND_IN_NODE_IMAGE = "docker.io/kindest/node:stand-in"
TORNJAK = ("spire-server.tornjak", "tornjak-frontend")  # of the hardened charts


@dataclass(frozen=True)
class Published:
    """The stand-ins that are up, and what has a run use them: `options`, `environment` and `mirrors`.

    `images` are those in the registry, by reference, with those of the demo; `charts` is an `oci://` reference of the
    charts there.
    """

    made: Catalogue
    network: SeparateNetwork
    registry: Registry
    downloads: FileServer
    chart_repository: FileServer
    authority: Authority
    charts: str
    images: Mapping[str, Path]
    pulled_by_charts: Mapping[str, Path]
    mirrors: Mapping[str, str]
    prefix: str
    options: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, folder: Path, *options: str, mirrors: Mapping[str, str] | None = None) -> Result:
        """A run of `-m federation` with the published supply; `folder` is made for it.

        `mirrors` are URLs for the names of registries, by default those of the stand-in.
        """
        folder.mkdir()
        through = [f"--mirror={name}={url}/v2/{name}" for name, url in (mirrors or self.mirrors).items()]
        return Run(folder, self.prefix, *self.options, *through, *options, environment=self.environment).result()


@pytest.fixture(scope="session")
def published(
    settings: Settings, engine: Engine, report: Report, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    """The stand-ins, filled."""
    made = catalogue.make(say=report.say)
    scratch = tmp_path_factory.mktemp("published")
    with ExitStack() as undo:
        with report.phase("stand-ins") as phase:
            network = SeparateNetwork(engine, f"{settings.prefix}{CLUSTER_PREFIX}kind")
            network.create()
            undo.callback(network.remove)
            phase.progress("registry")
            registry = Registry(engine, network, catalogue.registry(report.say), scratch)
            undo.callback(registry.stop)
            registry.start()
            charts = PublishedCharts(made, settings.source.charts, scratch / "charts")
            pulled_by_charts = charts.images({})
            images = {**pulled_by_charts, **demo_images(made)}
            phase.progress(f"{len(images)} images")
            registry.fill(images)
            reference = charts.push(registry.on_loopback)
            chart_repository = FileServer(charts.packages)
            charts.index(chart_repository.url)
            downloads = FileServer(scratch / "downloads")
            programs = {"kind": made.kind, "kubectl": made.kubectl, "helm": made.helm}
            bases = publish_programs(downloads, programs)
            # Docker Hub gives nothing without a token, also of what is for everybody.
            hub = FaultyRegistry(network.gateway, registry.url, with_tokens)
            for server in (chart_repository, downloads, hub):
                undo.enter_context(serving(server))
            # As an engine has it that has pulled it.
            made.load_node_image(engine)
            engine.run("tag", made.node_image, STAND_IN_NODE_IMAGE)
            undo.callback(engine.run, "rmi", STAND_IN_NODE_IMAGE)
        registries = dict.fromkeys((reference.partition("/")[0] for reference in images), registry.url)
        registries["docker.io"] = hub.url
        yield Published(
            made=made,
            network=network,
            registry=registry,
            downloads=downloads,
            chart_repository=chart_repository,
            authority=Authority(scratch),
            charts=reference,
            images=images,
            pulled_by_charts=pulled_by_charts,
            mirrors=registries,
            prefix=f"{settings.prefix}{CLUSTER_PREFIX}",
            options=(
                "--supply=published",
                # Tornjak's images are no Go modules that the local supply could build.
                *(f"--set={part}.enabled=false" for part in (TORNJAK if settings.source.charts else ())),
                f"--kind-image={STAND_IN_NODE_IMAGE}",
            ),
            environment={
                **network.environment,
                **bases,
                "PATH": str(_path_without(programs, scratch / "bin")),
                "SPIRE_FEDERATION_CACHE": str(scratch / "cache"),
            },
        )


def _path_without(programs: Mapping[str, Path], folder: Path) -> Path:
    """A folder with links to all that is on PATH but these programs."""
    folder.mkdir()
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in place.iterdir() if place.is_dir() else ():
            if program.name not in programs and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder
