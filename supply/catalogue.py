"""What the local supply has made, for whoever uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from supply import chart, demo, images, node, plan, programs, rootfs, shims, versions
from supply.host import BUILDING, Engine, install
from supply.images import PREFIX, Image
from supply.plan import Step

# Preloaded into the node image besides Kubernetes' own: nothing is pulled or loaded in a default run.
SHELL = "image-shell"
KUBERNETES = "images-kubernetes"


@dataclass(frozen=True)
class Catalogue:
    """Paths of what was built. `archives` maps image references to archives; the node image has the `preloaded`."""

    kind: Path
    kubectl: Path
    helm: Path
    charts: Path
    node_image: str
    node_archive: Path
    archives: dict[str, Path]
    preloaded: frozenset[str]

    def image(self, name: str, tag: str = "") -> str:
        """The full reference of a built image, e.g. `image("spire-server", "1.15.3")`.

        Raises `KeyError` for one that is not built.
        """
        for reference in self.archives:
            repository, _, built = reference.rpartition(":")
            if repository == f"{PREFIX}/{name}" and tag in ("", built):
                return reference
        raise KeyError(f"{name}:{tag}" if tag else name)

    def load_node_image(self, engine: Engine) -> None:
        """Give the node image to the engine unless it has it. Raises `supply.host.EngineError`."""
        if self.node_image not in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            engine.pipe("load", given=self.node_archive, timeout=600)


def steps(pins: versions.Versions, requested: Collection[str] = ()) -> tuple[list[Step], list[Image], list[Image]]:
    """All steps, the images of the default programs, and those of on-request programs with a requested reference."""
    default = [program for program in pins.programs.values() if not program.on_request]
    extra = [
        program
        for program in pins.programs.values()
        if program.on_request and any(image.reference in requested for image in images.of(program))
    ]
    preloaded = [image for program in default for image in images.of(program)]
    loaded = {image: program for program in extra for image in images.of(program)}
    provisioner = next(image.reference for image in preloaded if image.name == "local-path-provisioner")
    image_steps = [images.step(image) for image in preloaded]
    all_steps = [
        *rootfs.steps(pins),
        *(programs.step(program) for program in default + extra),
        images.kubernetes_step(),
        images.shell_step(pins.kubernetes),
        *image_steps,
        node.step(pins.kubernetes, provisioner, (KUBERNETES, SHELL, *(step.name for step in image_steps))),
        chart.step(pins),
        *(
            shims.step(image, *images.of(pins.programs[program.shim_of])) if program.shim_of else images.step(image)
            for image, program in loaded.items()
        ),
    ]
    return all_steps, preloaded, list(loaded)


def references(pins: versions.Versions | None = None) -> list[str]:
    """Every image reference that could be built."""
    pins = pins or versions.load()
    return [
        *(image.reference for program in pins.programs.values() for image in images.of(program)),
        *_shell_references(pins),
    ]


def _shell_references(pins: versions.Versions) -> tuple[str, str]:
    return f"{PREFIX}/shell:{pins.kubernetes}", f"{PREFIX}/wait-for-it:{pins.kubernetes}"


def helm(say: Callable[[str], None] = print) -> Path:
    """Helm alone, built if it has not been yet. Raises `supply.plan.BuildError`."""
    return _program("helm", say)


def separate_steps(pins: versions.Versions) -> list[Step]:
    """What is built apart from the local supply: programs of the tests' stand-ins, and the published supply's demo."""
    alone = [programs.step(each) for each in pins.programs.values() if each.on_request and not each.images]
    return alone + [demo.step(name, machine) for name in demo.NAMES for machine in demo.ARCHITECTURES]


def registry(say: Callable[[str], None] = print) -> Path:
    """The image registry of the stand-ins, built if it has not been yet. Raises `supply.plan.BuildError`."""
    return _program("registry", say)


def _program(name: str, say: Callable[[str], None]) -> Path:
    step = programs.step(versions.load().programs[name])
    return plan.build([step], plan.cache_folder(), say)[step.name] / name


def make(
    requested: Collection[str] = (),
    cache: Path | None = None,
    say: Callable[[str], None] = print,
    *,
    may_install: bool = True,
) -> Catalogue:
    """Build what is missing and return the catalogue; `requested` names images that a plain build leaves out.

    `say` is called with lines about the progress; Debian packages that a build needs are installed if `may_install`.
    Raises `supply.plan.BuildError`.
    """
    pins = versions.load()
    unknown = sorted(set(requested) - set(references(pins)))
    if unknown:
        raise plan.BuildError(f"{', '.join(unknown)}: no program of supply/versions.toml makes this image")
    planned, preloaded, extra = steps(pins, requested)
    where = plan.folders(planned, cache or plan.cache_folder())
    if not all(place.is_dir() for place in where.values()):
        programs.go()
        install(BUILDING, say, allowed=may_install)
        plan.build(planned, cache or plan.cache_folder(), say)
    archives = {image.reference: where[f"image-{image.name}-{image.tag}"] / "image.tar" for image in preloaded + extra}
    shells = (where[SHELL] / "image.tar", where[SHELL] / "wait-for-it.tar")
    archives |= dict(zip(_shell_references(pins), shells, strict=True))
    return Catalogue(
        kind=where["program-kind"] / "kind",
        kubectl=where["program-kubernetes"] / "kubectl",
        helm=where["program-helm"] / "helm",
        charts=where["chart"],
        node_image=node.reference(pins.kubernetes, where["node"]),
        node_archive=where["node"] / "node.tar",
        archives=archives,
        preloaded=frozenset(
            reference for reference in archives if reference not in {image.reference for image in extra}
        ),
    )
