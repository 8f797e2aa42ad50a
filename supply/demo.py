"""The demo's images, built with Go alone: no engine, and nothing of Debian's, as their Containerfiles have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from supply import archives, plan
from supply.archives import Entry
from supply.images import PREFIX, architecture
from supply.plan import Place, Step
from supply.programs import go
from supply.versions import HERE, PROJECT

NAMES = ("server", "client")
ARCHITECTURES = ("amd64", "arm64")
USER = "65532:65532"


def reference(name: str) -> str:
    """The image of one of `NAMES`."""
    return f"{PREFIX}/gospiffe-{name}:v0"


def step(name: str, machine: str) -> Step:
    """The image's archive, `image.tar` in the step's folder, for Linux on an architecture (in Go's words, `amd64`)."""
    source = PROJECT / "workloads" / name

    def make(place: Place) -> None:
        # As the Containerfile has it.
        command = (go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", place.out / name, ".")
        place.run(*command, cwd=source, env={"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": machine, "GOWORK": "off"})
        layer = archives.write_layer(place.out / "layer.tar", [Entry(f"/{name}", source=place.out / name)])
        image = place.out / "image.tar"
        archives.write_archive(
            image, [reference(name)], [layer], architecture=machine, entrypoint=(f"/{name}",), user=USER
        )
        for part in (layer.path, place.out / name):
            part.unlink()

    return Step(f"demo-{name}-{machine}", make, texts=(machine,), sources=(source, HERE / "archives.py"))


def build(say: Callable[[str], None], machines: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Build what is missing; image -> its archives, one for each architecture (by default this machine's).

    Raises `supply.plan.BuildError`, also where there is no Go.
    """
    go()
    steps = {name: [step(name, machine) for machine in machines or (architecture(),)] for name in NAMES}
    places = plan.build([each for some in steps.values() for each in some], plan.cache_folder(), say)
    return {reference(name): [places[each.name] / "image.tar" for each in some] for name, some in steps.items()}
