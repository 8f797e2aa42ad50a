"""The project's own chart, with the CRDs generated from the controller manager's Go types."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from supply.plan import Place, Step
from supply.programs import go
from supply.versions import HERE, Versions

CHART = HERE / "chart"


def step(versions: Versions) -> Step:
    """`spire/` and `spire-crds/`, two chart folders that Helm can install."""
    program = versions.programs["spire-controller-manager"]

    def make(place: Place) -> None:
        shutil.copytree(CHART, place.out, dirs_exist_ok=True)
        generator = place.needs["program-controller-gen"] / "controller-gen"
        # controller-gen loads the types with the Go toolchain, in the module that pins them.
        tools = {"PATH": f"{Path(go()).parent}:{os.environ['PATH']}", "GOFLAGS": "", "GOWORK": "off"}
        place.run(
            generator,
            "crd",
            f"paths={program.module}/api/v1alpha1",
            f"output:crd:dir={place.out / 'spire-crds' / 'generated'}",
            cwd=program.folder,
            env=tools,
        )

    return Step(
        "chart", make, needs=("program-controller-gen",), texts=(program.version,), sources=(CHART, program.folder)
    )
