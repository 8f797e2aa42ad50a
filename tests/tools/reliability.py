"""Whether the suite itself can be relied on: `tox -e reliability -- kills|repeat|faults|existing`.

`kills` ends runs at ten points by SIGINT, SIGTERM and SIGKILL in turn, and looks after each for what is left on the
machine; every run begins on what the one before it left. `repeat` runs the federation, or what options after `--` say
(`-m upgrade --from=… --to=…`), many times, on kept clusters or on new ones, also on a machine that is busy or slow.
`faults` tries each installation fault of `tests/chart_faults.py` in a run of its own, on new clusters, on kept ones
that were green, or by an upgrade. `existing` looks by `--no-install` at SPIRE that is there already, federated or not,
and compares all objects of the clusters before and after. All exit with 1 where something was not as promised.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from fixtures.config.cluster_values import CLUSTERS
from fixtures.core.waiting import Condition, Look, WaitError, wait_for
from supply import catalogue, host
from tests import chart_faults
from tests.tools.existing_runs import EXISTING_PREFIX, existing
from tests.tools.fault_runs import Bench, faults, good_charts
from tests.tools.machine_load import LoadError, Slowed, busy_core, cores_allowed
from tests.tools.runs import RUN_TIMEOUT, Result, Run, seconds_table

# How the names of each command's clusters begin: none takes those of another that is under way, or has kept its own.
KILLS_PREFIX, REPEAT_PREFIX, FAULTS_PREFIX = "kills-", "repeat-", "faults-"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What a run has just printed when it is ended; a complete run takes some 70 s on two cores.
POINTS = (
    "supply",
    "seconds 2",
    "seconds 8",
    "Kind cluster",
    "seconds 20",
    "seconds 30",
    "SPIRE",
    "federation",
    "demo server",
    "client Job",
)
ENGINES_OWN = "/usr/lib/podman/"  # its name service is started with the first container, and inherits what that had
# Seconds in which a run ends after a signal on two cores: Kind, which is waited for, takes 20 to create a cluster.
RUN_END_EXPECTED = 45.0
KILLED_RUN_TIMEOUT = 15.0  # seconds in which the programs of a run that was killed must have ended


@dataclass(frozen=True)
class Left:
    """What of runs that were ended is on the machine: containers, volumes, networks, programs of theirs."""

    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]
    programs: frozenset[str]

    @classmethod
    def now(cls, engine: host.Engine) -> Left:
        """Look. Raises `CalledProcessError`."""
        names = engine.run("ps", "-a", "--filter", "label=io.x-k8s.kind.cluster", "--format", "{{.Names}}").split()
        return cls(
            frozenset(name for name in names if name.startswith(KILLS_PREFIX)),
            frozenset(engine.run("volume", "ls", "-q").split()),
            frozenset(engine.run("network", "ls", "--format", "{{.Name}}").split()),
            frozenset(_programs()),
        )


def _programs() -> Iterator[str]:
    """Programs whose KUBECONFIG is that of a cluster of these runs, and Kind's at work on it; the engine's stay."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        kubeconfig = next((each for each in environment if each.startswith(b"KUBECONFIG=")), b"")
        is_of_these = any(f"/{KILLS_PREFIX}{name}/".encode() in kubeconfig for name in CLUSTERS)
        if is_of_these and command and not command.startswith(ENGINES_OWN):
            yield f"{process.name} {command[:120]}"


def kills(engine: host.Engine, folder: Path) -> list[str]:
    """End runs at every point; returns what was not as promised, a sentence each."""
    before, wrong = Left.now(engine), []
    for number, (point, sent) in enumerate(zip(POINTS, cycle(SIGNALS), strict=False)):
        place = folder / f"{number}-{point.replace(' ', '-')}-{sent.name}"
        place.mkdir()
        run = Run(place, KILLS_PREFIX)
        wait_for(run.reached(point), RUN_TIMEOUT)
        by_itself = run.has_ended
        seconds = run.send(sent)
        found = _look_after(engine, before, sent)
        found += [f"it had ended by itself: {run.last_line}"] if by_itself else []
        found += [f"it took {seconds:.0f} s to end"] if seconds > RUN_END_EXPECTED else []
        wrong += [f"{sent.name} at {point}: {each}" for each in found]
        print(
            f"{sent.name:<8} at {point:<14} ended after {seconds:5.1f} s  {'; '.join(found) or 'nothing left'}",
            flush=True,
        )
    place = folder / "afterwards"
    place.mkdir()
    last = Run(place, KILLS_PREFIX)
    code = last.wait()
    print(f"a run after all that: {last.last_line if code else 'green'}", flush=True)
    wrong += [f"the run afterwards ended with {code}"] if code else []
    left = Left.now(engine)
    wrong += [
        f"left in the end: {each}"
        for each in sorted((left.containers | left.volumes | left.networks | left.programs) - _all(before))
    ]
    return wrong


def _look_after(engine: host.Engine, before: Left, sent: signal.Signals) -> list[str]:
    """What a run left that it should not have: programs never, and clusters only where it could do nothing any more."""

    def look() -> Look[bool]:
        programs = sorted(_programs())
        return Look(None if programs else True, "; ".join(programs))

    gone = Condition("no program of a run that has ended", look)
    wrong = []
    try:
        wait_for(gone, KILLED_RUN_TIMEOUT)
    except WaitError as error:
        wrong.append(str(error))
    left = Left.now(engine)
    if sent is not signal.SIGKILL:
        wrong += [f"left: {each}" for each in sorted((left.containers | left.volumes) - _all(before))]
    wrong += [f"left: network {each}" for each in sorted(left.networks - before.networks - {"kind"})]
    return wrong


def _all(left: Left) -> frozenset[str]:
    return left.containers | left.volumes | left.networks | left.programs | {"kind"}


def repeat(
    folder: Path, times: int, *, new: bool, slowed: Slowed, kind: str, options: Sequence[str] = ()
) -> list[str]:
    """Run the federation many times, a line for each run and a table of all; returns the red ones.

    On kept clusters a run that is not counted makes them. `options` are further ones of pytest's: another `-m`, too.
    """
    wrong: list[str] = []

    def once(number: int, label: str) -> Result:
        place = folder / f"run-{number}"
        place.mkdir()
        keep = () if new else ("--keep-clusters",)
        result = Run(place, REPEAT_PREFIX, *keep, *options, slowed=slowed).result()
        verdict = "green" if result.green else f"red: {result.verdict}"
        print(f"{label}: {result.seconds:6.1f} s  {verdict}", flush=True)
        wrong.extend([] if result.green else [f"{label}: {verdict}; see {result.folder}"])
        return result

    if not new:
        once(0, "clusters made")
    results = [once(number, f"run {number:>3} of {times}") for number in range(1, times + 1)]
    print("\n".join(["", *seconds_table([(kind, results)]), ""]))
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands, print a line for each run, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.reliability", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("kills", help="end runs at ten points, and look for what is left on the machine")
    repeated = commands.add_parser("repeat", help="run the federation many times")
    repeated.add_argument("--times", type=int, default=20, help="how many runs (default 20)")
    repeated.add_argument(
        "--busy", action="store_true", help="one core of this machine is kept busy by another program"
    )
    repeated.add_argument(
        "--half-speed", action="store_true", help="the run's programs and its nodes have half of this machine's cores"
    )
    repeated.add_argument("options", nargs="*", metavar="-- OPTION", help="further options of the runs, pytest's")
    met = commands.add_parser("faults", help="meet every installation fault, and every healthy variant that is slow")
    met.add_argument(
        "-k", default="", dest="expression", metavar="EXPR", help="only those of these names (pytest's -k)"
    )
    met.add_argument(
        "--charts", type=Path, metavar="DIR", help="other charts than this project's own: only their values are broken"
    )
    there = commands.add_parser("existing", help="look at SPIRE that is installed already, and leave it as it was")
    there.add_argument("--charts", type=Path, metavar="DIR", help="the charts that it is installed from")
    for command in (repeated, met):
        chosen = command.add_mutually_exclusive_group()
        chosen.add_argument("--new", action="store_true", help="every run makes its clusters and deletes them")
        chosen.add_argument("--kept", action="store_false", dest="new", help="runs on kept clusters (default)")
        if command is met:
            chosen.add_argument("--upgraded", action="store_true", help="every run upgrades good charts to the fault")
    for command in commands.choices.values():
        command.add_argument("--folder", type=Path, help="where the runs' folders go (default: a new one under /tmp)")
    given = parser.parse_args(arguments)
    # By default this signal would end the program with its clusters and its load on the machine left as they are.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="reliability-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    made, engine = catalogue.make(), host.ensure_engine()
    os.environ.update(engine.environment)
    made.load_node_image(engine)
    with ExitStack() as undo:
        try:
            wrong = _run(given, folder, made, engine, undo)
        except (LoadError, ValueError, RuntimeError) as error:
            print(f"reliability: {error}", file=sys.stderr)
            return 2
    for each in wrong:
        print(each)
    print(f"{'as promised' if not wrong else f'{len(wrong)} broken promises'}; everything is in {folder}")
    return 1 if wrong else 0


def _run(
    given: argparse.Namespace, folder: Path, made: catalogue.Catalogue, engine: host.Engine, undo: ExitStack
) -> list[str]:
    """Run a command; `undo` gets what ends the load on the machine, and deletes the clusters before that."""
    if given.command == "kills":
        undo.callback(_delete_clusters, made, KILLS_PREFIX)
        return kills(engine, folder)
    if given.command == "existing":
        _delete_clusters(made, EXISTING_PREFIX)  # of a run that was ended before it could
        undo.callback(_delete_clusters, made, EXISTING_PREFIX)
        return existing(folder, made, engine, given.charts)
    if given.command == "faults":
        # What cannot be met where a good release is, is none of an upgrade's either.
        own, upgraded = given.charts is None, given.upgraded
        chosen = tuple(chart_faults.chosen(given.expression, kept=not given.new, own_chart=own, upgraded=upgraded))
        (folder / "charts").mkdir()
        good = good_charts(made.charts, given.charts, folder / "charts" / "good")
        delete = partial(_delete_clusters, made, FAULTS_PREFIX)
        undo.callback(delete)
        bench = Bench(folder, FAULTS_PREFIX, engine, delete, good)
        meet = bench.by_an_upgrade if given.upgraded else bench.on_new_clusters if given.new else bench.on_kept_clusters
        return faults(bench, chosen, meet)
    kind = "new clusters" if given.new else "kept clusters"
    slowed = Slowed()
    if given.busy:
        print(f"core {undo.enter_context(busy_core())} is kept busy", flush=True)
        kind += ", one core busy"
    if given.half_speed:
        cores = len(os.sched_getaffinity(0)) / 2
        slowed = undo.enter_context(cores_allowed(cores, engine))
        kind += f", {cores:g} cores"
    undo.callback(_delete_clusters, made, REPEAT_PREFIX)
    return repeat(folder, given.times, new=given.new, slowed=slowed, kind=kind, options=given.options)


def _delete_clusters(made: catalogue.Catalogue, prefix: str) -> None:
    for name in CLUSTERS:
        subprocess.run(
            [made.kind, "delete", "cluster", "--name", f"{prefix}{name}"], check=False, capture_output=True
        )


if __name__ == "__main__":
    sys.exit(main())
