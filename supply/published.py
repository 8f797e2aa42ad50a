"""Kind, kubectl and Helm as their projects publish them: where each program is, and which bytes it is.

`downloads.sha256` has the SHA-256 of each at the versions of `versions.toml`, in the format of sha256sum(1).
`python -m supply pin` renews it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supply.versions import HERE, Versions

DIGESTS = HERE / "downloads.sha256"
# Where the projects have every version of their programs.
PROJECTS_OWN = {
    "kind": "https://github.com/kubernetes-sigs/kind/releases/download",
    "kubectl": "https://dl.k8s.io/release",
    "helm": "https://get.helm.sh",
}
# What has a program downloaded from another place than its project's (a mirror of that), laid out as it is.
DOWNLOAD_BASES = {name: f"{name.upper()}_DOWNLOAD_BASE" for name in PROJECTS_OWN}
# What a run may be on: systems and architectures, in Go's words.
PLATFORMS = tuple((system, machine) for system in ("linux", "darwin") for machine in ("amd64", "arm64"))


@dataclass(frozen=True)
class PublishedProgram:
    """A program at its version, for one system and architecture.

    It is at `path` below the place of all versions, and its SHA-256 is published in the file at `checksum` there.
    `member` is the program's place in the archive at `path`; empty where that is the program itself.
    """

    name: str
    version: str
    path: str
    checksum: str
    member: str = ""

    @property
    def pinned_as(self) -> str:
        """Its name in `downloads.sha256`."""
        return f"{self.name}/{self.path}"


def versions_of(pins: Versions) -> dict[str, str]:
    """The programs' versions, as their projects write them (`v0.33.0`), by name."""
    return {
        "kind": pins.programs["kind"].version,
        "kubectl": f"v{pins.kubernetes}",
        "helm": pins.programs["helm"].version,
    }


def programs(pins: Versions, system: str, machine: str) -> dict[str, PublishedProgram]:
    """The programs for a system and an architecture (in Go's words, such as `linux` and `amd64`), by name."""
    version = versions_of(pins)
    kind = f"{version['kind']}/kind-{system}-{machine}"
    kubectl = f"{version['kubectl']}/bin/{system}/{machine}/kubectl"
    helm = f"helm-{version['helm']}-{system}-{machine}.tar.gz"
    return {
        "kind": PublishedProgram("kind", version["kind"], kind, f"{kind}.sha256sum"),
        "kubectl": PublishedProgram("kubectl", version["kubectl"], kubectl, f"{kubectl}.sha256"),
        "helm": PublishedProgram("helm", version["helm"], helm, f"{helm}.sha256sum", f"{system}-{machine}/helm"),
    }


def base(name: str, environment: Mapping[str, str]) -> str:
    """The URL below which a program's versions are: as the environment has it, else its project's own."""
    return environment.get(DOWNLOAD_BASES[name]) or PROJECTS_OWN[name]


def digests(path: Path = DIGESTS) -> dict[str, str]:
    """What is pinned: SHA-256 (hex) by `PublishedProgram.pinned_as`; nothing where there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
