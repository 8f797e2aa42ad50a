"""What the local supply has made, for whoever uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supply import chart, images, node, plan, programs, rootfs, versions
from supply.host import BUILDING, Engine, install
from supply.images import PREFIX, Image
from supply.plan import Step

# Preloaded into the node image besides Kubernetes' own: nothing is pulled or loaded in a default run.
SHELL = "image-shell"
KUBERNETES = "images-kubernetes"


@dataclass(frozen=True)
class Catalogue:
    """Paths of what was built. `archives` maps image references to archives; `preloaded` are in the node image already."""

    kind: Path
    kubectl: Path
    helm: Path
    charts: Path
    node_image: str
    node_archive: Path
    archives: dict[str, Path]
    preloaded: frozenset[str]

    def image(self, name: str, tag: str = "") -> str:
        """The full reference of a built image, e.g. `image("spire-server", "1.15.3")`. Raises `KeyError` for one not built."""
        for reference in self.archives:
            repository, _, built = reference.rpartition(":")
            if repository == f"{PREFIX}/{name}" and tag in ("", built):
                return reference
        raise KeyError(f"{name}:{tag}" if tag else name)

    def load_node_image(self, engine: Engine) -> None:
        """Give the node image to the engine unless it has it. Raises `subprocess.CalledProcessError`."""
        if self.node_image not in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            engine.run("load", "-i", self.node_archive, timeout=600)


def steps(pins: versions.Versions, spire: Sequence[str]) -> tuple[list[Step], list[Image], list[Image]]:
    """All steps, the default images, and the images of the other SPIRE versions asked for."""
    default, *_ = pins.spire
    preloaded = images.spire_images(default) + images.companion_images(pins)
    extra = [image for version in spire if version != default for image in images.spire_images(version)]
    wanted = {image.step.removeprefix("program-") for image in preloaded + extra}
    built = [programs.step(program) for name, program in pins.programs.items() if not name.startswith(versions.SPIRE + "1.") or name in wanted]
    provisioner = next(image.reference for image in preloaded if image.name == "local-path-provisioner")
    image_steps = [images.step(image) for image in preloaded]
    default_steps = [
        *rootfs.steps(pins),
        *built,
        images.kubernetes_step(),
        images.shell_step(pins.kubernetes),
        *image_steps,
        node.step(pins.kubernetes, provisioner, (KUBERNETES, SHELL, *(step.name for step in image_steps))),
        chart.step(pins),
    ]
    return default_steps + [images.step(image) for image in extra], preloaded, extra


def make(spire: Sequence[str] = (), cache: Path | None = None) -> Catalogue:
    """Build what is missing and return the catalogue; `spire` names further SPIRE versions. Raises `supply.plan.BuildError`."""
    pins = versions.load()
    unknown = sorted(set(spire) - set(pins.spire))
    if unknown:
        raise plan.BuildError(f"SPIRE {', '.join(unknown)} is not pinned in supply/versions.toml; it has {', '.join(pins.spire)}")
    planned, preloaded, extra = steps(pins, spire)
    where = plan.folders(planned, cache or plan.cache_folder())
    if not all(place.is_dir() for place in where.values()):
        programs.go()
        install(BUILDING)
        plan.build(planned, cache or plan.cache_folder())
    archives = {image.reference: where[f"image-{image.name}-{image.tag}"] / "image.tar" for image in preloaded + extra}
    archives[f"{PREFIX}/shell:{pins.kubernetes}"] = where[SHELL] / "image.tar"
    archives[f"{PREFIX}/wait-for-it:{pins.kubernetes}"] = where[SHELL] / "wait-for-it.tar"
    return Catalogue(
        kind=where["program-kind"] / "kind",
        kubectl=where["program-kubernetes"] / "kubectl",
        helm=where["program-helm"] / "helm",
        charts=where["chart"],
        node_image=node.reference(pins.kubernetes, where["node"]),
        node_archive=where["node"] / "node.tar",
        archives=archives,
        preloaded=frozenset(reference for reference in archives if reference not in {image.reference for image in extra}),
    )
