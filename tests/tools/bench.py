"""What a run costs beside the tutorial's own steps, in seconds and in processor time: `tox -e bench`.

The tutorial's commands are run one after another, as a person would type them, with the same programs, images and chart
as the suite; then the suite runs cold, and again on its kept clusters, and upgrades. All in one go, so that the ratios
mean something on a noisy machine. Before all that, the tutorial's commands are run side by side: what they read from
the disk is in memory then for all that follow, and the tutorial is not slower than the suite for having come first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from fixtures.config.cluster_values import CHARTS_VALUES, read_clusters
from fixtures.core.concurrency import map_concurrently
from fixtures.core.project import PROJECT
from fixtures.core.tables import columns
from fixtures.k8s.kind.cluster import NETWORK_EXISTS
from fixtures.k8s.kind.configuration import kind_config
from fixtures.k8s.kind.network import kind_network
from fixtures.spire.federation import federated_trust_domain
from fixtures.workloads.manifests import load_manifests, with_image_and_environment
from supply import catalogue, host

BENCH_PREFIX = "bench-"
CLASS_NAME = "spire-mgmt-spire"  # the tutorial's
MEMORY_GOAL = 3.5  # GiB
STAT = Path("/proc/stat")
TutorialStep = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and those of all processors of the machine that were busy meanwhile, with whatever."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Row:
    """A row of the table; `ratio` (to the tutorial) and `processor` (seconds) are the most that it should cost."""

    name: str
    cost: Cost
    ratio: float | None = None
    processor: float | None = None


def measured(work: Callable[[], object]) -> Cost:
    """Do something, and return what it cost."""
    began, busy = time.monotonic(), busy_seconds(STAT.read_text())
    work()
    return Cost(time.monotonic() - began, busy_seconds(STAT.read_text()) - busy)


def busy_seconds(stat: str) -> float:
    """How long all processors together were busy since the machine was started, from `/proc/stat` (proc(5))."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    times = dict(zip(names, map(int, stat.splitlines()[0].split()[1:]), strict=False))
    busy = sum(ticks for name, ticks in times.items() if name not in ("idle", "iowait"))
    return busy / os.sysconf("SC_CLK_TCK")


def table(rows: Sequence[Row], tutorial: Cost) -> list[str]:
    """The rows with their ratios to the tutorial, and whether goals are met."""
    cells = [("", "seconds", "ratio", "processor-seconds", "goals")]
    for row in rows:
        ratio = row.cost.seconds / tutorial.seconds
        goals = []
        for goal, value, what in (
            (row.ratio, ratio, "at most {:.2f}"),
            (row.processor, row.cost.processor, "at most {:.0f} p-s"),
        ):
            if goal is not None:
                goals.append(f"{what.format(goal)}: {'met' if value <= goal else 'MISSED'}")
        cost = (f"{row.cost.seconds:.1f}", f"{ratio:.2f}", f"{row.cost.processor:.1f}")
        cells.append((row.name, *cost, ", ".join(goals)))
    return columns(cells, numbers=range(1, 4))


class Tutorial:
    """The tutorial's steps as bare commands, in its order; in each of its stages they may be done side by side."""

    def __init__(self, folder: Path) -> None:
        self.made = catalogue.make()
        self.engine = host.ensure_engine()
        host.prepare_for_kind()
        os.environ.update(self.engine.environment)
        self.made.load_node_image(self.engine)
        self.folder = folder
        self.clusters = read_clusters()
        self.steps: list[tuple[str, float]] = []
        self._forwards: list[subprocess.Popen[bytes]] = []

    def run(self, *, at_once: bool = False) -> Cost:
        """Do all of it, each stage's steps one after another or all at once; deleting the clusters is not counted."""
        try:
            return measured(lambda: self._run_stages(at_once))
        finally:
            for forward in self._forwards:
                forward.terminate()
                forward.wait()
            self._forwards.clear()
            self.delete_clusters()

    def _run_stages(self, at_once: bool) -> None:
        self.steps.clear()

        def do(step: TutorialStep) -> tuple[str, float]:
            began = time.monotonic()
            step[1]()
            return step[0], time.monotonic() - began

        for stage in self._stages():
            self.steps += map_concurrently(do, stage) if at_once else [do(step) for step in stage]

    def delete_clusters(self) -> None:
        """Delete the clusters of the bench's prefix, of this or an earlier bench."""
        for cluster in self.clusters:
            self._do(self.made.kind, "delete", "cluster", "--name", BENCH_PREFIX + cluster.name)

    def _stages(self) -> list[list[TutorialStep]]:
        names = [cluster.name for cluster in self.clusters]
        return [
            [(f"create {name}", partial(self._create, name)) for name in names],
            [(f"SPIRE on {name}", partial(self._install, name)) for name in names],
            [("federate", self._federate)],
            [("demo server", self._serve)],
            [("client Job", self._call)],
        ]

    def _create(self, name: str) -> None:
        config = self.folder / f"kind-{name}.yaml"
        config.write_text(yaml.safe_dump(kind_config(self.folder / f"patches-{name}")))
        options = ("--image", self.made.node_image, "--config", config, "--kubeconfig", self._kubeconfig(name))
        command = (self.made.kind, "create", "cluster", "--name", BENCH_PREFIX + name, *options)
        try:
            self._do(*command)
        except RuntimeError as error:
            # Of two created at once on a new machine, one finds Kind's network just made by the other.
            if NETWORK_EXISTS not in str(error):
                raise
            self._do(*command)

    def _install(self, name: str) -> None:
        charts = self.made.charts
        helm = (self.made.helm, "upgrade", "--install", "--create-namespace", "-n", "spire-mgmt")
        self._do(*helm, "spire-crds", charts / "spire-crds", cluster=name)
        files = [
            argument
            for file in (name, "production", "pace")
            for argument in ("--values", CHARTS_VALUES / f"{file}.yaml")
        ]
        create = ("--set", "global.spire.namespaces.create=true")
        self._do(*helm, *create, *files, "--wait", "--timeout", "5m", "spire", charts / "spire", cluster=name)
        # What `--wait` does not wait for.
        self._do(self._kubectl, "rollout", "status", "-n", "spire-system", "daemonset/spire-agent", cluster=name)
        label = "pod-security.kubernetes.io/enforce=restricted"
        self._do(self._kubectl, "label", "namespace", "spire-server", label, "--overwrite", cluster=name)

    def _federate(self) -> None:
        self.address = kind_network(self.engine).gateway
        ports = {}
        for port, cluster in enumerate(self.clusters, 18440):
            ports[cluster.name] = port
            self._forward(cluster.name, "spire-server", "svc/spire-server", f"{port}:8443")
        for cluster in self.clusters:
            for peer in (each for each in self.clusters if each.trust_domain in cluster.federates_with):
                show = ("/opt/spire/bin/spire-server", "bundle", "show", "-format", "spiffe")
                pod = ("exec", "-n", "spire-server", "spire-server-0", "-c", "spire-server", "--")
                bundle = self._do(self._kubectl, *pod, *show, cluster=peer.name)
                url = f"https://{self.address}:{ports[peer.name]}"
                self._apply(cluster.name, federated_trust_domain(peer.trust_domain, url, bundle, CLASS_NAME))

    def _serve(self) -> None:
        server, client = self.clusters[0].name, self.clusters[1].name
        for name in (server, client):
            self._do(self._kubectl, "create", "namespace", "demo", cluster=name)
        deployment, service = load_manifests("server.yaml")
        self._apply(server, with_image_and_environment(deployment, self.made.image("gospiffe-server"), {}), service)
        self._do(self._kubectl, "rollout", "status", "-n", "demo", "deployment/server", cluster=server)
        self._forward(server, "demo", "svc/server-service", "20001:8443")

    def _call(self) -> None:
        (job,) = load_manifests("client.yaml")
        server_id = f"spiffe://{self.clusters[0].trust_domain}/ns/demo/sa/default"
        variables = {"SERVER_URL": f"https://{self.address}:20001", "AUDIENCE": server_id}
        self._apply(
            self.clusters[1].name, with_image_and_environment(job, self.made.image("gospiffe-client"), variables)
        )
        wait = ("wait", "-n", "demo", "--for=condition=complete", "--timeout=120s", "job/client")
        self._do(self._kubectl, *wait, cluster=self.clusters[1].name)

    @property
    def _kubectl(self) -> Path:
        return self.made.kubectl

    def _kubeconfig(self, name: str) -> Path:
        return self.folder / f"kubeconfig-{name}"

    def _apply(self, name: str, *objects: object) -> None:
        file = self.folder / "objects.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        self._do(self._kubectl, "apply", "-f", file, cluster=name)

    def _forward(self, name: str, namespace: str, target: str, ports: str) -> None:
        command: list[str | Path] = [
            self._kubectl,
            "port-forward",
            "-n",
            namespace,
            "--address",
            self.address,
            target,
            ports,
        ]
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig(name))}
        forward = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._forwards.append(forward)
        if forward.stdout is None or not forward.stdout.readline().startswith(b"Forwarding"):
            raise RuntimeError(f"{target} cannot be forwarded")

    def _do(self, *command: str | Path, cluster: str = "") -> str:
        environment = {**os.environ, **({"KUBECONFIG": str(self._kubeconfig(cluster))} if cluster else {})}
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout


def suite(*options: str) -> None:
    """Run the suite to its verdict; the clusters stay, as deleting them is not counted elsewhere either.

    Raises `SystemExit` when it is red.
    """
    common = ("--supply=local", "--cluster-prefix", BENCH_PREFIX, "--keep-clusters")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(PROJECT / "pyproject.toml"), *common, *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
        raise SystemExit("the suite was red: nothing to compare")


def memory(engine: host.Engine) -> float:
    """GiB that the clusters' nodes use: their cgroups' memory without the page cache that can be dropped."""
    listed = engine.run("ps", "--filter", "label=io.x-k8s.kind.cluster", "--format", "{{.Names}}").split()
    used = engine.run("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
    nodes = [line for line in used if line.split()[0] in listed and line.startswith(BENCH_PREFIX)]
    return sum(_gib(line.split()[1]) for line in nodes)


def _gib(text: str) -> float:
    units = {"GiB": 1.0, "MiB": 2.0**-10, "GB": 1e9 / 2**30, "MB": 1e6 / 2**30}
    number = next(text.removesuffix(unit) for unit in units if text.endswith(unit))
    return float(number) * next(factor for unit, factor in units.items() if text.endswith(unit))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; returns 0 (a goal that is missed is shown, not failed: machines differ)."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bench", description=__doc__)
    parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        tutorial = Tutorial(Path(folder))
        try:
            at_once = tutorial.run(at_once=True)
            by_hand = tutorial.run()
            steps = list(tutorial.steps)
            cold = measured(lambda: suite("-m", "federation"))
            gib = memory(tutorial.engine)
            kept = measured(lambda: suite("-m", "federation"))
            tutorial.delete_clusters()
            upgrade = measured(lambda: suite("-m", "upgrade"))
        finally:
            tutorial.delete_clusters()
    rows = [
        Row("tutorial, one step after another", by_hand),
        Row("tutorial, side by side and unchecked", at_once),
        Row("suite, cold", cold, 0.40, 60),
        Row("suite, on kept clusters", kept, 0.08),
        Row("upgrade, cold", upgrade, 0.60),
    ]
    print("\n".join(columns([(f"  {name}", f"{seconds:.1f}") for name, seconds in steps], numbers=[1])))
    print("\n".join(table(rows, by_hand)))
    print(f"memory of both clusters: {gib:.2f} GiB, at most {MEMORY_GOAL}: {'met' if gib <= MEMORY_GOAL else 'MISSED'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
