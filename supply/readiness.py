"""Whether the local supply is built, how long the rest of it takes, and what is in the way of building it here."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from supply import catalogue, host, plan, programs, versions
from supply.time_left import MEASURED_SECONDS, measured_seconds, seconds_left, usual_seconds

# Go's module cache 6.2, its build cache 12, and what is kept 6.4 GiB, after a full build.
BUILD_SPACE = 25 * 2**30


@dataclass(frozen=True)
class Readiness:
    """What of the local supply is not built yet: `missing` names its steps, of `total`.

    `seconds` is about how long they take on this machine.
    """

    missing: tuple[str, ...]
    total: int
    seconds: float = 0.0

    @property
    def minutes(self) -> int:
        """About how long the missing steps take on this machine; 0 where nothing is missing."""
        return ceil(self.seconds / 60)

    @property
    def space(self) -> int:
        """About how many bytes they take on this machine's disk: what takes long to build is large."""
        spent = sum(map(measured_seconds, self.missing))
        total = sum(MEASURED_SECONDS.values()) + MEASURED_SECONDS["program-spire-"]  # two versions of SPIRE
        return min(BUILD_SPACE, BUILD_SPACE * spent // total)


def look(cache: Path | None = None) -> Readiness:
    """What there is in the cache of what a default run needs."""
    steps, _, _ = catalogue.steps(versions.load())
    cache = cache or plan.cache_folder()
    places = plan.folders(steps, cache)
    needs = plan.missing_needs(steps, places)
    return Readiness(tuple(needs), len(places), seconds_left({}, needs, usual_seconds(cache)))


def obstacles(readiness: Readiness, why_unreachable: Callable[[str], str], cache: Path | None = None) -> list[str]:
    """What is in the way of building what is missing, a clause each, with what would help; nothing if it can be built.

    `why_unreachable` says why a URL does not answer, and nothing where it does.
    """
    if not readiness.missing:
        return []
    found = []
    if platform.system() != "Linux":
        found.append(f"it is built on Linux, and this is {platform.system()}")
    needs_debian = any(name.startswith(("debian-", "node")) for name in readiness.missing)
    if needs_debian and os.geteuid() != 0:
        found.append("mmdebstrap needs root")
    packages = host.missing_packages(host.BUILDING)
    if packages and not shutil.which("apt-get"):
        found.append(f"{' '.join(packages)} are needed, and this machine has no apt-get to install them")
    found += _go_obstacles(readiness.missing, why_unreachable)
    mirror = host.debian_mirror()
    # Without one it is mmdebstrap's own.
    if mirror and "debian-base" in readiness.missing:
        reason = why_unreachable(f"{mirror.rstrip('/')}/dists/{versions.load().suite}/Release")
        if reason:
            found.append(f"the Debian mirror {mirror} cannot be reached ({reason}): set SUPPLY_DEBIAN_MIRROR")
    place = existing_parent(cache or plan.cache_folder())
    free = shutil.disk_usage(place).free
    if free < readiness.space:
        found.append(
            f"{place} has {free / 2**30:.0f} GiB left, and it takes about {readiness.space / 2**30:.0f}: make room, or "
            "name another place by SPIRE_FEDERATION_CACHE"
        )
    return found


def existing_parent(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _go_obstacles(missing: Collection[str], why_unreachable: Callable[[str], str]) -> list[str]:
    """What is in the way of building Go programs."""
    if not any(name.startswith("program-") for name in missing):
        return []
    try:
        go = programs.go()
        asked = [go, "env", "-json", "GOPROXY", "GOMODCACHE"]
        said = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/").stdout)
    except (plan.BuildError, OSError, ValueError, subprocess.SubprocessError) as error:
        return [str(error)]
    downloaded = Path(said["GOMODCACHE"]) / "cache" / "download"
    if downloaded.exists():
        return []  # perhaps all that is needed: what is missing there, Go names itself
    proxies = [each for each in said["GOPROXY"].replace("|", ",").split(",") if each]
    if proxies[:1] == ["off"]:
        return ["GOPROXY=off, and Go has no module yet"]
    reasons = {each: why_unreachable(each) for each in proxies if each.startswith(("http:", "https:"))}
    if reasons and all(reasons.values()) and "|direct" not in said["GOPROXY"]:
        return [f"Go's modules cannot be reached: {each} ({why}): set GOPROXY" for each, why in reasons.items()]
    return []
