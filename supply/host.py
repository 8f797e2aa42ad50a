"""What the machine must have before a build or a cluster: Debian packages, an engine, the settings the engine needs."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from supply.images import architecture
from supply.plan import BuildError, cache_folder

# program that shows a package is there -> Debian packages that bring it
BUILDING = {"mmdebstrap": ("mmdebstrap", "debian-archive-keyring"), "gcc": ("gcc", "libc6-dev"), "tar": ("tar",)}
PODMAN = {
    "podman": ("podman",),
    "runc": ("runc",),
    "iptables": ("iptables",),
    "/usr/lib/podman/netavark": ("netavark",),
    "/usr/lib/podman/aardvark-dns": ("aardvark-dns",),
}
CGROUP2 = Path("/sys/fs/cgroup/cgroup.controllers")
CAP_SYS_RESOURCE = 24
USUAL_OPEN_FILES = 1048576
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
# A low bound: systemd, containerd, the kubelet, whoever watches certificates, and under cgroup v2 each pod's shim.
# Without one, a pod ends with `too many open files` (Kind's known issues).
NODE_INOTIFY_INSTANCES = 10
SHOWN_LINES = 15  # of what an engine says when it fails
PROCESSES = 32000  # runc is refused the hard limit itself, though not less than it; a node needs some thousands

# `podman exec` reads its command's exit code from a file, and waits 5 s for one that is not there. As the command ends,
# conmon starts `podman container cleanup --exec`, which deletes that file. On a busy machine the cleanup now and then
# comes first: 37 of 540 calls took more than 5 s, in two loops on two cores with a load of 17; with the delay, in turns
# with those, none of 540 (a mean of 0.67 s for 1.01 s). Podman 4.3 to 5.8 have no setting for a delay; they give conmon
# one, of 300 s, only for sessions of their HTTP API. The delay makes no call slower; a conmon just stays that long.
CONMON = """\
#!/bin/sh
case " $* " in *" --exec-attach "*) set -- --exit-delay 10 "$@" ;; esac
exec {conmon} "$@"
"""


class EngineError(subprocess.CalledProcessError):
    """A container engine's program failed; the text has its last lines, which `CalledProcessError` leaves out."""

    def __str__(self) -> str:
        said = (self.stderr or "").strip() or (self.output or "").strip()
        lines = [line.rstrip() for line in said.splitlines() if line.strip()][-SHOWN_LINES:]
        command = shlex.join(map(str, self.cmd))
        return "\n    ".join([f"`{command}` ended with {self.returncode}{':' if lines else ''}", *lines])


@dataclass(frozen=True)
class Engine:
    """A container engine: its program, and the environment under which it and Kind work on this machine.

    Its commands may take `timeout_scale` times as long as their timeouts say.
    """

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_scale: float = 1.0

    def run(self, *arguments: str | Path, timeout: float = 300) -> str:
        """Run the engine's program and return its output; `timeout` is in seconds.

        Raises `EngineError` or `subprocess.TimeoutExpired`.
        """
        return self.pipe(*arguments, timeout=timeout)

    def pipe(
        self, *arguments: str | Path, given: str | Path = "", output: Path | None = None, timeout: float = 300
    ) -> str:
        """As `run`, for a program that reads a text or file `given` from its standard input, and writes to a file.

        So the engine need not see the files: Docker from snap has a /tmp of its own, and sees no hidden folder.
        """
        text, path = (None, given) if isinstance(given, Path) else (given, Path(os.devnull))
        with (output or Path(os.devnull)).open("wb") as file, path.open("rb") as source:
            done = subprocess.run(
                [self.program, *map(str, arguments)],
                env={**os.environ, **self.environment},
                input=text,
                stdin=source if text is None else None,
                stdout=file if output else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout * self.timeout_scale,
            )
        if done.returncode:
            raise EngineError(done.returncode, done.args, done.stdout, done.stderr)
        return done.stdout or ""


def missing_packages(wanted: Mapping[str, Sequence[str]]) -> list[str]:
    """The Debian packages that bring what this machine lacks of these programs."""
    return [
        package
        for program, packages in wanted.items()
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        for package in packages
    ]


def install(wanted: Mapping[str, Sequence[str]], say: Callable[[str], None] = print, *, allowed: bool = True) -> None:
    """Install the Debian packages whose programs are missing.

    Raises `BuildError` where that cannot be done, or is not `allowed`.
    """
    packages = missing_packages(wanted)
    if not packages:
        return
    listed = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BuildError(
            f"these are needed and not installed: {listed}; install them, or run as root on Debian or Ubuntu"
        )
    if not allowed:
        raise BuildError(
            f"these are needed and not installed: {listed}; install them, or give --install, which does it by apt-get"
        )
    say(f"installing {listed}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(
                f"`{' '.join(command)}` ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}"
            )


@cache
def engine() -> Engine | None:
    """The engine to use: `$KIND_EXPERIMENTAL_PROVIDER` if set, else Docker if it answers, else Podman, else None.

    A program `docker` that is another engine's (`podman-docker`) is not Docker.
    """
    chosen = os.environ.get("KIND_EXPERIMENTAL_PROVIDER")
    for program in (chosen,) if chosen else ("docker", "podman"):
        candidate = Engine(program, _environment(program))
        try:
            candidate.run("ps", timeout=30)
            # By this Kind too tells them apart: what is called `docker` may be Podman, whose commands are not the same.
            version = candidate.run("--version", timeout=30)
        except (OSError, subprocess.SubprocessError):
            continue
        if program != "docker" or version.startswith("Docker version "):
            return candidate
    return None


def ensure_engine(say: Callable[[str], None] = print, *, may_install: bool = True) -> Engine:
    """The engine to use, Podman installed first where there is none and `may_install`.

    Raises `BuildError` where none is available.
    """
    found = engine()
    if may_install and (found is None or (found.program == "podman" and os.geteuid() == 0 and shutil.which("apt-get"))):
        install(PODMAN, say)
        engine.cache_clear()
        found = engine()
    if found is None:
        raise BuildError("no container engine answers: neither `docker ps` nor `podman ps` succeeds")
    return found


def _environment(program: str) -> dict[str, str]:
    wanted, own = os.environ.get("DOCKER_DEFAULT_PLATFORM"), f"linux/{architecture()}"
    if program == "docker" and wanted and not wanted.startswith(own):
        # Kind's nodes would be emulated, and what is built would not be the nodes' own.
        return {"DOCKER_DEFAULT_PLATFORM": own}
    if program != "podman":
        return {}
    environment = {"KIND_EXPERIMENTAL_PROVIDER": "podman"}
    folder, conmon = cache_folder(), shutil.which("conmon")
    # Elsewhere Podman's containers are in a virtual machine, to which files that these settings would hide may lead.
    needs_settings = platform.system() == "Linux" and shutil.which(program)
    settings = _podman_settings(folder / "conmon" if conmon else None) if needs_settings else ""
    if settings and "CONTAINERS_CONF" not in os.environ:
        folder.mkdir(parents=True, exist_ok=True)
        if conmon:
            _keep(folder / "conmon", CONMON.format(conmon=shlex.quote(conmon)), 0o755)
        _keep(folder / "containers.conf", settings, 0o644)
        environment["CONTAINERS_CONF"] = str(folder / "containers.conf")
    return environment


def _keep(path: Path, text: str, mode: int) -> None:
    """Make the file what it is to be, in one step: another run's Podman may be reading it."""
    if not path.exists() or path.read_text() != text:
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(text)
        part.chmod(mode)
        part.replace(path)


def _podman_settings(conmon: Path | None) -> str:
    """Podman's settings (containers.conf(5)) for a machine that lacks what its defaults need; empty where it has all.

    They are given by `$CONTAINERS_CONF`, so the machine's own files stay as they are. Podman then does not read those,
    so `conmon`, to be used for Podman's own, is no reason for settings where there is no other.
    """
    containers, engine_lines = [], []
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if os.geteuid() == 0 and not _may_raise_limits():
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        limits = [f"nofile={open_files}:{open_files}"] if 0 < open_files < USUAL_OPEN_FILES else []
        limits += [f"nproc={min(processes, PROCESSES)}:{min(processes, PROCESSES)}"] if processes > 0 else []
        if limits:
            containers.append(f"default_ulimits = [{', '.join(repr(limit) for limit in limits)}]".replace("'", '"'))
    if not CGROUP2.exists() and shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin"):
        engine_lines.append('runtime = "runc"')  # crun does not start containers on hybrid cgroups
    if not Path("/run/systemd/system").exists():
        engine_lines += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if conmon and (containers or engine_lines):
        engine_lines.append(f"conmon_path = {json.dumps([str(conmon)])}")
    sections = [("containers", containers), ("engine", engine_lines)]
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections if lines)


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd"))
    return bool(int(bounding, 16) >> CAP_SYS_RESOURCE & 1)


def prepare_for_kind() -> None:
    """Kind mounts the host's `/lib/modules`, which a machine with a monolithic kernel may lack."""
    modules = Path("/lib/modules")
    if os.geteuid() == 0 and not modules.exists():
        modules.mkdir()


def check_inotify(nodes: int) -> None:
    """Refuse to create so many nodes where inotify instances are used up. Raises `BuildError`.

    The kernel counts them by user: this looks at those of its own, who is the nodes' too with root or rootless Podman.
    """
    wanted, opened = nodes * NODE_INOTIFY_INSTANCES, []
    try:
        for _ in range(wanted if platform.system() == "Linux" else 0):
            opened.append(_inotify_instance())
    except OSError as error:
        limit = INOTIFY_LIMIT.read_text().strip() if INOTIFY_LIMIT.exists() else "a limited number of"
        raise BuildError(
            f"{nodes} Kind nodes need at least {wanted} inotify instances, and {len(opened)} are free "
            f"({error.strerror}; a user may have {limit}): `sysctl fs.inotify.max_user_instances=512` allows more"
        ) from None
    finally:
        for each in opened:
            os.close(each)


def _inotify_instance() -> int:
    descriptor = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(descriptor)


def debian_mirror() -> str:
    """`$SUPPLY_DEBIAN_MIRROR`, else the mirror that this machine's apt has for Debian, else none (mmdebstrap's own)."""
    chosen = os.environ.get("SUPPLY_DEBIAN_MIRROR")
    if chosen:
        return chosen
    if not shutil.which("apt-get"):
        return ""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in asked.stdout.splitlines():
        uri, _, label = line.partition(" ")
        if label == "Debian":
            return uri
    return ""
