"""Charts from a folder: made ready on a copy, asked which images they pull, and pointed at the images built here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from supply import versions
from supply.images import PREFIX

PATIENCE = 120.0  # seconds for one run of Helm
RELEASE, NAMESPACE = "spire", "spire-mgmt"
# Of the variables that Helm reads, those that say where its caches, registries, repositories and plugins are. Others
# lead it to other clusters.
HELM_PLACES = (
    "HELM_CACHE_HOME",
    "HELM_CONFIG_HOME",
    "HELM_DATA_HOME",
    "HELM_PLUGINS",
    "HELM_REGISTRY_CONFIG",
    "HELM_REPOSITORY_CACHE",
    "HELM_REPOSITORY_CONFIG",
)

# What built image stands in for what is pulled, by the last part of the repository's name. Others stand in for their own name.
STANDS_IN = {"bash": "shell", "busybox": "shell"}
# SPIRE's own: another minor version is not the same program to test.
SPIRE = ("spire-server", "spire-agent", "oidc-discovery-provider")
# Version of the spire chart -> version of spire-crds from then on, the newest first.
CRDS_SINCE = (("0.30.0", "0.6.0"), ("0.24.0", "0.5.0"), ("0.20.0", "0.4.0"), ("0.0.0", "0.3.0"))
# Programs that once had another command line, and the first version that has today's.
COMMAND_LINE_SINCE = {"spiffe-helper": Version("0.8")}

# The safe loader in C, where there is one: manifests of thousands of lines take seconds otherwise.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ChartError(ValueError):
    """A chart that cannot be used; the text is one sentence that names it and says why."""


class HelmError(ChartError):
    """Helm failed; `said` are its own last words."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"`{command}` failed: {said}")
        self.said = said


@dataclass(frozen=True)
class ChartPair:
    """The chart and the chart of its CRDs, which is installed first: folders that Helm installs without any further step."""

    spire: Path
    crds: Path
    version: Version
    crds_version: Version


@dataclass(frozen=True)
class Overrides:
    """Values that make a chart run built images, and how far they go.

    `replaced` says what stands in for what is pulled; `unsupplied` are the references that are still pulled with these values.
    """

    values: dict[str, Any]
    replaced: dict[str, str]
    unsupplied: list[str]

    @property
    def other_versions(self) -> list[str]:
        """What stands in at a version that is not the one pulled, such as `spire-server 1.14.5 for 1.14.1`."""
        told = []
        for pulled, ours in self.replaced.items():
            (name, tag), (_, our_tag) = split(pulled), split(ours)
            if _parse(tag) != _parse(our_tag) and _parse(our_tag):
                told.append(f"{name.rpartition('/')[2]} {our_tag} for {tag or 'any'}")
        return told


def find(source: Path) -> tuple[Path, Version, Version]:
    """The folder of charts that `source` is, or has as its `charts/`, and the versions of spire and spire-crds there.

    Raises `ChartError` for a folder without the two, or with two that do not belong together.
    """
    charts = next(
        (folder for folder in (source, source / "charts") if (folder / "spire" / "Chart.yaml").is_file()), None
    )
    if charts is None:
        raise ChartError(
            f"{source} is no folder of charts: it has neither spire/Chart.yaml nor charts/spire/Chart.yaml"
        )
    if not (charts / "spire-crds" / "Chart.yaml").is_file():
        raise ChartError(
            f"{charts} has no spire-crds/Chart.yaml, and the spire chart is never installed without its CRDs"
        )
    version, crds_version = (_version(charts / name) for name in ("spire", "spire-crds"))
    _check_crds(charts, version, crds_version)
    return charts, version, crds_version


def crds_for(chart: Version) -> str:
    """The version of spire-crds that belongs to a version of the spire chart, or to a candidate of it."""
    released = Version(chart.base_version)
    return next((crds for since, crds in CRDS_SINCE if released >= Version(since)), CRDS_SINCE[-1][1])


def _check_crds(charts: Path, chart: Version, crds: Version) -> None:
    """Refuse CRDs of another time: fields that they do not know are dropped without a word, and what needs them fails later."""
    wanted = Version(crds_for(chart))
    newest = Version(CRDS_SINCE[0][0])
    # What comes with charts that are newer than any known here cannot be told, except that it is not older.
    fits = crds >= wanted if chart.release[:2] > newest.release[:2] else crds.release[:2] == wanted.release[:2]
    if not fits:
        raise ChartError(f"{charts} has spire-crds {crds}, and spire {chart} needs {wanted.major}.{wanted.minor}")


def prepare(source: Path, into: Path, helm: Path) -> ChartPair:
    """Copy a folder of charts (or the `charts/` in a checkout) to `into`, which must not exist, with all dependencies in place.

    Nothing is downloaded: dependencies are folders beside the chart. Raises `ChartError` as `find` does, or where Helm cannot
    find a dependency.
    """
    charts, version, crds_version = find(source)
    shutil.copytree(charts, into)
    for name in ("spire", "spire-crds"):
        _complete(into / name, helm)
    return ChartPair(into / "spire", into / "spire-crds", version, crds_version)


def _describe(chart: Path) -> dict[str, Any]:
    try:
        described = yaml.safe_load((chart / "Chart.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ChartError(f"{chart / 'Chart.yaml'} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise ChartError(f"{chart / 'Chart.yaml'} describes no chart: it gives no name")
    return described


def _version(chart: Path) -> Version:
    described = _describe(chart)
    if described["name"] != chart.name:
        raise ChartError(f"{chart} holds the chart {described['name']}, not {chart.name}")
    try:
        return Version(str(described.get("version")))
    except InvalidVersion:
        raise ChartError(f"{chart / 'Chart.yaml'} gives no version: {described.get('version')!r}") from None


def _complete(chart: Path, helm: Path) -> None:
    """Bring dependencies into the chart's `charts/`, as folders. A chart that has them already is left as it is."""
    wanted = {dependency["name"] for dependency in _describe(chart).get("dependencies") or ()}
    _unpack(chart)
    if not wanted <= set(_inside(chart)):
        # Not `dependency build`, which wants every repository of the lock file to be known to this Helm.
        _helm(helm, "dependency", "update", "--skip-refresh", str(chart))
        _unpack(chart)


def _unpack(chart: Path) -> None:
    """Turn packaged dependencies into folders; one that is there as a folder too is the same chart."""
    for archive in sorted((chart / "charts").glob("*.tgz")):
        with tempfile.TemporaryDirectory() as scratch:
            # Not by Python, which refuses what leads out of the folder only since 3.11.4; Debian 12 has 3.11.2.
            command: list[str | Path] = [
                "tar",
                "--extract",
                "--gzip",
                "--no-same-owner",
                "--file",
                archive,
                "--directory",
                scratch,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ChartError(f"{archive} cannot be unpacked: {done.stderr.strip()[-500:]}")
            (unpacked,) = Path(scratch).iterdir()
            if not (chart / "charts" / unpacked.name).exists():
                shutil.move(unpacked, chart / "charts" / unpacked.name)
        archive.unlink()


def _inside(chart: Path) -> dict[str, Path]:
    """The charts in a chart's `charts/`, by name."""
    return {
        _describe(described.parent)["name"]: described.parent
        for described in sorted((chart / "charts").glob("*/Chart.yaml"))
    }


def helm_environment(kept: Collection[str] = ()) -> dict[str, str]:
    """This process's environment; of the variables that Helm reads itself (`HELM_…`), only those named are kept.

    Others lead it to another cluster, namespace or user than it is asked for (see `helm help`, Environment variables).
    """
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith("HELM_")}


def _helm(helm: Path, *arguments: str) -> str:
    """Run Helm with a home of its own, so that neither its user's repositories nor a proxy's mood matter. Raises `ChartError`."""
    with tempfile.TemporaryDirectory() as home:
        places = {f"HELM_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")}
        environment = helm_environment() | places
        try:
            done = subprocess.run(
                [helm, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise ChartError(f"`helm {' '.join(arguments)}` did not end in {PATIENCE:g} s") from None
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line and not line.startswith("Use --debug")]
        raise HelmError(f"helm {' '.join(arguments)}", " ".join(said[-3:]) or str(done.returncode))
    return done.stdout


def render(
    chart: Path, values: Sequence[Mapping[str, Any]], helm: Path, *, tests: bool = False, kubernetes: str = ""
) -> str:
    """The chart's manifests with these values, hooks included, for a Kubernetes version (by default the one of `versions.toml`).

    `tests` adds what only `helm test` would run. Raises `ChartError` with Helm's words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files: list[str] = []
        for number, mapping in enumerate(values):
            path = Path(scratch) / f"{number}.yaml"
            path.write_text(yaml.safe_dump(dict(mapping)))
            files += ["--values", str(path)]
        version = kubernetes or versions.load().kubernetes
        place = (RELEASE, str(chart), "--namespace", NAMESPACE, "--kube-version", version)
        try:
            return _helm(helm, "template", *place, *files, *(() if tests else ("--skip-tests",)))
        except HelmError as error:
            described = _describe(chart)
            raise ChartError(
                f"the chart {described['name']} {described.get('version')} does not render with these values: {error.said}"
            ) from error


def images(rendered: str) -> list[str]:
    """Every image that containers and init containers of rendered manifests run, in the order in which they first appear."""
    found: dict[str, None] = {}
    for manifest in yaml.load_all(rendered, Loader=_Loader):
        found.update(dict.fromkeys(_images(manifest)))
    return list(found)


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, below in node.items():
            if key in ("initContainers", "containers", "ephemeralContainers") and isinstance(below, list):
                yield from (
                    container["image"]
                    for container in below
                    if isinstance(container, Mapping) and isinstance(container.get("image"), str)
                )
            else:
                yield from _images(below)
    elif isinstance(node, list):
        for below in node:
            yield from _images(below)


def split(reference: str) -> tuple[str, str]:
    """An image reference's name (registry and repository) and tag; a digest belongs to neither."""
    name, _, _ = reference.partition("@")
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


def overrides(
    chart: ChartPair,
    values: Mapping[str, Any],
    helm: Path,
    built: Collection[str],
    *,
    handed: Collection[str] = (),
    spire_version: str = "",
    kubernetes: str = "",
) -> Overrides:
    """Values, to be merged over `values`, with which the chart runs the images of `built` (references, as `Catalogue.archives` has them).

    What is in `handed` under the very reference that is pulled (a digest aside) is taken before anything that was built. SPIRE is taken at `spire_version`, or else at the newest built one of the chart's own minor version. That the images are then ours
    is read from the manifests, rendered again. Raises `ChartError` where the chart does not render.
    """
    pulled = images(render(chart.spire, [values], helm, kubernetes=kubernetes))
    chosen = {
        reference: ours
        for reference in pulled
        if (ours := _same(reference, handed) or _stand_in(reference, built, spire_version))
    }
    by_name = {split(reference)[0]: ours for reference, ours in chosen.items()}
    overlay: dict[str, Any] = {}
    for path, image in _settable(_merge(_defaults(chart.spire), values)):
        name = "/".join(part for part in (image.get("registry"), image["repository"]) if part)
        if name in by_name:
            _put(overlay, path, _setting(by_name[name], image))
    left = images(render(chart.spire, [values, overlay], helm, kubernetes=kubernetes))
    unsupplied = [reference for reference in left if reference not in built and reference not in handed]
    replaced = {reference: ours for reference, ours in chosen.items() if reference not in unsupplied}
    wrong = sorted(set(left) - set(unsupplied) - set(chosen.values()))
    if wrong:
        raise ChartError(f"chart {chart.version} runs {', '.join(wrong)} whatever its image values say")
    return Overrides(overlay, replaced, unsupplied)


def _same(pulled: str, handed: Collection[str]) -> str | None:
    """The image that was handed over under the reference that is pulled."""
    return next((reference for reference in handed if split(reference) == split(pulled)), None)


def _stand_in(pulled: str, built: Collection[str], spire_version: str) -> str | None:
    """The built image that stands in for a pulled one, if there is any."""
    name, tag = split(pulled)
    ours = STANDS_IN.get(name.rpartition("/")[2], name.rpartition("/")[2])
    candidates = {
        _parse(split(reference)[1]): reference for reference in built if split(reference)[0] == f"{PREFIX}/{ours}"
    }
    version = _parse(tag)
    if ours in COMMAND_LINE_SINCE and (version is None or version < COMMAND_LINE_SINCE[ours]):
        return None
    fitting = [candidate for candidate in candidates if candidate]
    if ours in SPIRE and spire_version:
        fitting = [candidate for candidate in fitting if candidate == _parse(spire_version)]
    elif ours in SPIRE:
        fitting = [candidate for candidate in fitting if version and candidate.release[:2] == version.release[:2]]
    elif version:
        # The nearest minor version that is not older, else whatever there is.
        minors = sorted(
            {candidate.release[:2] for candidate in fitting if candidate.release[:2] >= version.release[:2]}
        )
        fitting = [candidate for candidate in fitting if not minors or candidate.release[:2] == minors[0]]
    return candidates[max(fitting)] if fitting else None


def _parse(tag: str) -> Version | None:
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def _defaults(chart: Path) -> dict[str, Any]:
    """A chart's default values with those of its dependencies under their aliases."""
    path = chart / "values.yaml"
    own = (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}
    inside = _inside(chart)
    declared = _describe(chart).get("dependencies") or []
    for dependency in declared:
        if dependency["name"] in inside:
            alias = dependency.get("alias") or dependency["name"]
            own[alias] = _merge(_defaults(inside[dependency["name"]]), own.get(alias) or {})
    return dict(own)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def _settable(
    values: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Where in the values an image is set, and what is set there."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if isinstance(value.get("repository"), str):
                yield (*path, key), value
            yield from _settable(value, (*path, key))


def _setting(reference: str, image: Mapping[str, Any]) -> dict[str, str]:
    name, tag = split(reference)
    registry, _, repository = name.partition("/")
    place = {"registry": registry, "repository": repository} if "registry" in image else {"repository": name}
    return {**place, "tag": tag, "pullPolicy": "IfNotPresent"}


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def print_images(charts: Path, values: Sequence[Path], helm: Path) -> None:
    """Print what a folder of charts pulls with these values files, one reference a line; what only `helm test` pulls says so.

    Raises `ChartError`.
    """
    mappings = [yaml.safe_load(path.read_text()) or {} for path in values]
    with tempfile.TemporaryDirectory() as scratch:
        chart = prepare(charts, Path(scratch) / "charts", helm)
        installed = images(render(chart.spire, mappings, helm))
        tested = images(render(chart.spire, mappings, helm, tests=True))
    for reference in installed:
        print(reference)
    for reference in tested:
        if reference not in installed:
            print(f"{reference}  # only by `helm test`")
