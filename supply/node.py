"""Kind's node image: Debian with Kubernetes, containerd and every image that the default run needs already in it.

What Kind expects of a node image (https://kind.sigs.k8s.io/docs/design/node-image/): `/kind/version`,
`/kind/manifests/*.yaml`, kubeadm, kubelet and kubectl on PATH, containerd and kubelet as systemd units, and an
entrypoint that ends in systemd.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supply import archives
from supply.images import PREFIX, architecture
from supply.plan import BuildError, Place, Step
from supply.versions import HERE

FILES = HERE / "node"
# unit -> what a container has no use for
MASKED = (
    "systemd-logind.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "getty.target",
    "console-getty.service",
    "systemd-remount-fs.service",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-resolved.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "e2scrub_all.timer",
    "systemd-tmpfiles-clean.timer",
)
CONTAINERD_START_TIMEOUT = CONTAINERD_STOP_TIMEOUT = 30.0  # seconds
# What containerd needs for pods alone; here it only imports images.
UNUSED_PLUGINS = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.nri.v1.nri",
)
# file of FILES -> (path in the node, mode)
INSTALLED_FILES = {
    "containerd.toml": ("etc/containerd/config.toml", 0o644),
    "containerd.service": ("etc/systemd/system/containerd.service", 0o644),
    "kubelet.service": ("etc/systemd/system/kubelet.service", 0o644),
    "stopping.conf": ("etc/systemd/system.conf.d/stopping.conf", 0o644),
    "kubelet-cgroups": ("usr/local/bin/kubelet-cgroups", 0o755),
    "entrypoint": ("usr/local/bin/entrypoint", 0o755),
    "cni.conflist": ("kind/pods.conflist", 0o644),
    "default-cni.yaml": ("kind/manifests/default-cni.yaml", 0o644),
    "default-storage.yaml": ("kind/manifests/default-storage.yaml", 0o644),
}


def reference(version: str, place: Path) -> str:
    """The node image's name; its tag ends in the step's key, so that an engine never takes an older one for it."""
    return f"{PREFIX}/node:v{version}-{place.name.split('.')[0].removeprefix('node-')}"


def step(version: str, provisioner: str, images: tuple[str, ...]) -> Step:
    """`node.tar`, the node image's archive.

    `provisioner` is the image of the local-path provisioner, `images` the steps whose archives are preloaded.
    """

    def make(place: Place) -> None:
        root = place.out / "root"
        place.run("cp", "-a", place.needs["debian-node"] / "root", root)
        pause = _pause(place.needs["images-kubernetes"] / "images.txt")
        _install(
            root,
            place,
            version,
            {"@pause@": pause, "@shell@": f"{PREFIX}/shell:{version}", "@local-path-provisioner@": provisioner},
        )
        _preload(root, place, [archive for name in images for archive in sorted(place.needs[name].glob("*.tar"))])
        _move_out_of_volume(root)
        layer = archives.tar_folder(root, place.out / "layer.tar")
        archives.write_archive(
            place.out / "node.tar",
            [reference(version, place.out)],
            [layer],
            architecture=architecture(),
            entrypoint=["/usr/local/bin/entrypoint"],
            env=["container=docker"],
            stop_signal="SIGRTMIN+3",
        )
        layer.path.unlink()
        shutil.rmtree(root)

    needs = ("debian-node", "program-kubernetes", "program-containerd", *images)
    return Step("node", make, needs=needs, texts=(version, provisioner), sources=(FILES, HERE / "archives.py"))


def _pause(listing: Path) -> str:
    return next(line for line in listing.read_text().split() if "/pause:" in line)


def _install(root: Path, place: Place, version: str, values: dict[str, str]) -> None:
    for name in ("kubeadm", "kubelet", "kubectl"):
        shutil.copy2(place.needs["program-kubernetes"] / name, root / "usr/bin" / name)
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        shutil.copy2(place.needs["program-containerd"] / name, root / "usr/local/bin" / name)
    for name, (path, mode) in INSTALLED_FILES.items():
        text = (FILES / name).read_text()
        for key, value in values.items():
            text = text.replace(key, value)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
    (root / "kind/version").write_text(f"v{version}\n")
    units = root / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for unit in ("containerd.service", "kubelet.service"):
        (wanted / unit).symlink_to(f"/etc/systemd/system/{unit}")
    for unit in MASKED:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    default = units / "default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("/lib/systemd/system/multi-user.target")
    # The engine mounts its own over these; what was copied from the host stays out of the image.
    for name in ("resolv.conf", "hosts", "hostname"):
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).touch()
    (root / "etc/machine-id").write_text("")


def _preload(root: Path, place: Place, images: list[Path]) -> None:
    """Unpack images into the node's containerd store, by a containerd of this machine whose root is inside the node.

    Of an unpacked image containerd needs its manifest and configuration alone; the layers' archives are let go.
    """
    programs = place.needs["program-containerd"]
    with tempfile.TemporaryDirectory(prefix="containerd-") as state, _containerd(root, place, Path(state)) as address:
        ctr = (programs / "ctr", "--address", address, "--namespace", "k8s.io")
        for image in images:
            place.run(*ctr, "images", "import", "--local", image)
        place.run(*ctr, "content", "prune", "references")


@contextmanager
def _containerd(root: Path, place: Place, state: Path) -> Iterator[Path]:
    """Run a containerd until the end, its root inside the node and its own files in `state`; gives its socket.

    It says by sd_notify(3) when it is ready. Raises `BuildError` if it ends, or does not get ready in time.
    """
    programs = place.needs["program-containerd"]
    address, notified, config = state / "containerd.sock", state / "notify.sock", state / "config.toml"
    config.write_text(f"version = 3\ndisabled_plugins = {json.dumps(UNUSED_PLUGINS)}\n")
    command: list[str | Path] = [programs / "containerd", "--config", config, "--address", address]
    command += ["--root", root / "var/lib/containerd", "--state", state / "state"]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "NOTIFY_SOCKET": str(notified)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification, place.log.open("ab") as log:
        notification.bind(str(notified))
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        ended = os.pidfd_open(daemon.pid)
        try:
            sources: list[socket.socket | int] = [notification, ended]
            if select.select(sources, [], [], CONTAINERD_START_TIMEOUT)[0] != [notification]:
                raise BuildError("containerd did not start; see the step's log")
            yield address
        finally:
            os.close(ended)
            daemon.terminate()
            daemon.wait(timeout=CONTAINERD_STOP_TIMEOUT)


def _move_out_of_volume(root: Path) -> None:
    """Keep the unpacked images elsewhere than below `/var`.

    Kind makes that a volume: the engine would copy all of it for every node.
    """
    snapshots = root / "var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
    (root / "kind/snapshots").mkdir()
    for snapshot in sorted(snapshots.iterdir()):
        snapshot.rename(root / "kind/snapshots" / snapshot.name)
        snapshot.symlink_to(f"/kind/snapshots/{snapshot.name}")
