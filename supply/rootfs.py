"""Two Debian file systems: a small one for images that need a shell or iptables, and the node's on top of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from supply.archives import tar_folder
from supply.host import debian_mirror
from supply.plan import Place, Step
from supply.versions import Versions

# What no container reads. The package lists and archives are apt's caches.
UNREAD = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "var/cache/debconf",
)
# Not all machines' apt trusts Debian: Ubuntu's does not.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Has the folders of /usr linked before anything is unpacked; else the package usrmerge does it, with all of Perl.
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def steps(versions: Versions) -> list[Step]:
    """`debian-base` (folder `root`, and `base.tar`) and `debian-node` (folder `root`)."""

    def make_base(place: Place) -> None:
        root, mirror = place.out / "root", debian_mirror()
        place.run(
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(versions.base_packages)}",
            f"--keyring={KEYRING}",
            f"--hook-dir={MERGED_USR}",
            versions.suite,
            root,
            *([mirror] if mirror else []),
            env=QUIET,
        )
        layer = place.out / "trimmed"
        place.run("cp", "-a", root, layer)
        _trim(layer)
        tar_folder(layer, place.out / "base.tar")
        shutil.rmtree(layer)

    def make_node(place: Place) -> None:
        root = place.out / "root"
        place.run("cp", "-a", place.needs["debian-base"] / "root", root)
        # Nothing is to be started inside the folder while packages are configured (invoke-rc.d(8)).
        refuse = root / "usr/sbin/policy-rc.d"
        refuse.write_text("#!/bin/sh\nexit 101\n")
        refuse.chmod(0o755)
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(Path("/etc") / name, root / "etc" / name)
        place.run("chroot", root, "apt-get", "update", "-q", env=QUIET)
        place.run(
            "chroot",
            root,
            "apt-get",
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            *versions.node_packages,
            env=QUIET,
        )
        refuse.unlink()
        _trim(root)

    return [
        Step("debian-base", make_base, texts=(versions.suite, *versions.base_packages)),
        Step("debian-node", make_node, needs=("debian-base",), texts=versions.node_packages),
    ]


def _trim(root: Path) -> None:
    for name in UNREAD:
        folder = root / name
        if folder.is_dir():
            shutil.rmtree(folder)
            folder.mkdir(mode=0o755)
