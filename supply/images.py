"""The container images: which program stands where in which image, and under which name."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from supply import archives
from supply.archives import Entry, Layer
from supply.plan import Place, Step
from supply.versions import HERE, Program

PREFIX = "localhost/spire-federation"
SPIRE_USER = 1000
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# passwd(5)
ACCOUNTS = """\
root:x:0:0:root:/root:/sbin/nologin
spire:x:1000:1000:spire:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
"""
FOLDERS = (Entry("tmp", mode=0o1777), Entry("run/spire", owner=SPIRE_USER), Entry("var/lib/spire", owner=SPIRE_USER))


@dataclass(frozen=True)
class Image:
    """A component image: the program of its name, where the entrypoint says; `debian` puts it on the Debian base."""

    name: str
    tag: str
    step: str
    entrypoint: tuple[str, ...]
    debian: bool = False
    user: str = ""

    @property
    def reference(self) -> str:
        """The image's full name, with its tag."""
        return f"{PREFIX}/{self.name}:{self.tag}"


def architecture() -> str:
    """This machine's architecture in the image-spec's (Go's) words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def of(program: Program) -> list[Image]:
    """The images that a program's module makes."""
    return [
        Image(name, program.tag, f"program-{program.name}", tuple(line.split()), program.debian, program.user)
        for name, line in program.images.items()
    ]


def step(image: Image) -> Step:
    """The image's archive, `image.tar` in the step's folder."""

    def make(place: Place) -> None:
        base = place.needs["debian-base"]
        program = Entry(image.entrypoint[0], source=place.needs[image.step] / image.name)
        if image.debian:
            layers = [archives.measure(base / "base.tar"), archives.write_layer(place.out / "layer.tar", [program])]
        else:
            layers = [
                archives.write_layer(
                    place.out / "layer.tar",
                    [
                        *FOLDERS,
                        Entry("etc/passwd", text=ACCOUNTS, mode=0o644),
                        Entry(CERTIFICATES, source=base / "root" / CERTIFICATES, mode=0o644),
                        program,
                    ],
                )
            ]
        _archive(place, [image.reference], layers, entrypoint=list(image.entrypoint), user=image.user)

    return Step(
        f"image-{image.name}-{image.tag}",
        make,
        needs=("debian-base", image.step),
        texts=(repr(image),),
        sources=_SOURCES,
    )


def shell_step(tag: str) -> Step:
    """`shell` (the Debian base as it is) and `wait-for-it` (the same, waiting for a TCP port)."""

    def make(place: Place) -> None:
        base = archives.measure(place.needs["debian-base"] / "base.tar")
        _archive(place, [f"{PREFIX}/shell:{tag}"], [base])
        waiting = archives.write_layer(
            place.out / "layer.tar", [Entry("/usr/local/bin/wait-for-it", source=HERE / "images" / "wait-for-it")]
        )
        _archive(
            place,
            [f"{PREFIX}/wait-for-it:{tag}"],
            [base, waiting],
            entrypoint=["/usr/local/bin/wait-for-it"],
            name="wait-for-it.tar",
        )

    return Step("image-shell", make, needs=("debian-base",), texts=(tag,), sources=(*_SOURCES, HERE / "images"))


def kubernetes_step() -> Step:
    """The control plane's images, under the names this kubeadm asks for (`kubeadm config images list`)."""
    programs = {
        "kube-apiserver": "program-kubernetes",
        "kube-controller-manager": "program-kubernetes",
        "kube-scheduler": "program-kubernetes",
        "kube-proxy": "program-kubernetes",
        "etcd": "program-etcd",
        "coredns": "program-coredns",
        "pause": "program-pause",
    }

    def make(place: Place) -> None:
        kubernetes = place.needs["program-kubernetes"]
        listing = place.out / "images.txt"
        with listing.open("w") as handle:
            handle.write(
                _output(
                    kubernetes / "kubeadm",
                    "config",
                    "images",
                    "list",
                    "--kubernetes-version",
                    _output(kubernetes / "kubeadm", "version", "-o", "short").strip(),
                )
            )
        base = archives.measure(place.needs["debian-base"] / "base.tar")
        for reference in listing.read_text().split():
            name = reference.rsplit(":", 1)[0].rsplit("/", 1)[1]
            path = f"/{name}" if name in ("coredns", "pause") else f"/usr/local/bin/{name}"
            layer = archives.write_layer(
                place.out / f"{name}-layer.tar",
                [Entry("tmp", mode=0o1777), Entry(path, source=place.needs[programs[name]] / name)],
            )
            # kube-proxy runs iptables, its extensions and the libraries they need
            layers = [base, layer] if name == "kube-proxy" else [layer]
            _archive(place, [reference], layers, entrypoint=[path], name=f"{name}.tar")
            layer.path.unlink()

    return Step("images-kubernetes", make, needs=("debian-base", *dict.fromkeys(programs.values())), sources=_SOURCES)


_SOURCES = (HERE / "archives.py",)


def _archive(
    place: Place,
    names: list[str],
    layers: list[Layer],
    entrypoint: list[str] | None = None,
    user: str = "",
    name: str = "image.tar",
) -> None:
    archives.write_archive(
        place.out / name, names, layers, architecture=architecture(), entrypoint=entrypoint or (), user=user
    )
    for layer in layers:
        if layer.path.parent == place.out and layer.path.name == "layer.tar":
            layer.path.unlink()


def _output(program: Path, *arguments: str) -> str:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout
