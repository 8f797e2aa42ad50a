"""An image registry in a Kind network of its own, with images under the names under which their projects publish them.

It runs as a container in that network: nodes and this machine reach it by one address, which is there before the first
node is (Podman has a network's gateway, on which a process of this machine could listen, only while a container of the
network runs), and nobody else does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from fixtures.artifacts.chart_download import why_unreachable
from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.k8s.kind.network import described_network
from supply import archives
from supply.archives import Entry
from supply.host import Engine
from supply.images import PREFIX, architecture
from tests.stand_ins.image_push import Pusher

REGISTRY_IMAGE = f"{PREFIX}/registry:stand-in"
PORT = 5000
MANIFEST_ASKED_FOR = re.compile(r'"(?:GET|HEAD) /v2/(\S+)/manifests/([^\s?]+)\S* HTTP/[\d.]+" 200 ')
START_TIMEOUT = 30.0  # seconds
REGISTRY_CONFIGURATION = {
    "version": "0.1",
    "log": {"level": "warn", "formatter": "json"},
    "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
    "http": {"addr": f":{PORT}"},
}


class SeparateNetwork:
    """A network for Kind's nodes, apart from that of other runs; `name` is it and `gateway` its first address."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def create(self) -> None:
        """Create it. Raises `supply.host.EngineError`."""
        self._engine.run("network", "create", self.name)

    def remove(self) -> None:
        """Remove it. Raises `supply.host.EngineError`."""
        self._engine.run("network", "rm", self.name)

    @property
    def gateway(self) -> str:
        """This machine's address in it. Raises `ClusterError`."""
        return described_network(self._engine, self.name).gateway

    @property
    def environment(self) -> Mapping[str, str]:
        """What has Kind and the suite use it."""
        return {f"KIND_EXPERIMENTAL_{self._engine.program.upper()}_NETWORK": self.name}


class Registry:
    """A registry, empty at first. `program` is CNCF Distribution's, `folder` (there already) for what it is made of."""

    def __init__(self, engine: Engine, network: SeparateNetwork, program: Path, folder: Path) -> None:
        self._engine = engine
        self._network = network
        self._program = program
        self._folder = folder
        self.sizes: dict[str, int] = {}  # of the layers of each image, in bytes
        self._container = f"{network.name}-registry"

    def start(self) -> None:
        """Start it, and wait until it answers. Raises `supply.host.EngineError` and `WaitError`."""
        archive = self._folder / "registry.tar"
        entries = [
            Entry("/registry", source=self._program),
            Entry("/config.json", text=json.dumps(REGISTRY_CONFIGURATION), mode=0o644),
            Entry("/var/lib/registry"),
        ]
        layer = archives.write_layer(self._folder / "registry-layer.tar", entries)
        entrypoint = ("/registry", "serve", "/config.json")
        archives.write_archive(archive, [REGISTRY_IMAGE], [layer], architecture=architecture(), entrypoint=entrypoint)
        layer.path.unlink()
        self._engine.run("load", "-i", archive)
        archive.unlink()
        place = ("--network", self._network.name, "--publish", f"127.0.0.1::{PORT}")
        # Its traces would go to a collector that there is not.
        self._engine.run(
            "run", "--detach", "--name", self._container, *place, "--env=OTEL_TRACES_EXPORTER=none", REGISTRY_IMAGE
        )
        address = self._inspect(f'{{{{(index .NetworkSettings.Networks "{self._network.name}").IPAddress}}}}')
        self.url = f"http://{address}:{PORT}"
        self.on_loopback = self._engine.run("port", self._container, f"{PORT}/tcp").split()[0]

        def look() -> Look[bool]:
            reason = why_unreachable(f"{self.url}/v2/")
            return Look(None if reason else True, reason)

        wait_for(Condition("the registry's answer", look), START_TIMEOUT)

    def fill(self, published: Mapping[str, Path]) -> None:
        """Push images: reference -> archive. Raises `PushError`."""
        pusher = Pusher(self.url)
        for reference, archive in published.items():
            self.sizes[reference] = pusher.push(archive, reference)

    def pulled(self) -> set[str]:
        """The images whose manifests were asked for by name, `HOST/PATH:TAG`, since it was started."""
        found = set()
        for line in self._engine.run("logs", self._container).splitlines():
            asked = MANIFEST_ASKED_FOR.search(line)
            found |= {":".join(asked.groups())} if asked else set()
        return found

    def stop(self) -> None:
        """Remove the container, all that it has, and its image. Raises `supply.host.EngineError`."""
        if self._engine.run("ps", "--all", "--quiet", "--filter", f"name=^{self._container}$").strip():
            self._engine.run("rm", "--force", "--volumes", self._container)
        if self._engine.run("images", "--quiet", REGISTRY_IMAGE).strip():
            self._engine.run("rmi", REGISTRY_IMAGE)

    def _inspect(self, form: str) -> str:
        return self._engine.run("inspect", "--format", form, self._container).strip()
