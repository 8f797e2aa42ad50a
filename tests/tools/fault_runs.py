"""Installation faults as a person meets them: a run for each, and whether it was red soon and named rightly."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fixtures.core.tables import columns
from fixtures.report.red_run.one_screen import BROKEN_LINK_PREFIX, names_link
from supply.host import Engine
from tests.chart_faults import FAILED_CHECK, REFUSED_AT_START, ChartFault, broken, copy_of_own_chart
from tests.tools.machine_load import Slowed, cores_allowed
from tests.tools.runs import Result, Run

# Seconds from Helm's start until the run is red. An upgrade has none: its later clusters are upgraded meanwhile.
MEDIAN_SECONDS_GOAL = 30.0
LONGEST_SECONDS_GOAL = 75.0
INSTALLATION, UPGRADE = "SPIRE", "upgrade"  # phases of a run
RED, USAGE = 1, 4  # pytest's exit codes
CONSEQUENCE = "  in consequence:"


@dataclass(frozen=True)
class Verdict:
    """What a run made of a fault, or of a healthy variant.

    `met` is the phase of the run in which Helm meets it.
    """

    fault: ChartFault
    result: Result
    met: str = INSTALLATION

    @property
    def caught(self) -> bool:
        """Whether a fault turned the run red, or had it refused where that is what should happen."""
        return self.result.code == (USAGE if self.fault.link == REFUSED_AT_START else RED)

    @property
    def named(self) -> bool:
        """Whether the diagnosis names the link that is expected, in the words that are expected."""
        if self.fault.link == REFUSED_AT_START:
            return bool(re.search(self.fault.sentence, self.result.verdict))
        links = self.fault.link.split("|")
        link, words = self._broken_link
        says = re.compile(self.fault.sentence).search
        is_of_check = FAILED_CHECK in links and bool(says(self.result.failures))
        return is_of_check or (link in links and bool(says(words)))

    @property
    def right(self) -> bool:
        """Whether all is as it should be: a fault caught and named, a healthy variant green."""
        return self.result.green if self.fault.healthy else self.caught and self.named

    @property
    def seconds(self) -> float | None:
        """Seconds from Helm's start until the first failure was shown; None where there was no start or failure.

        It is 0 where the releases alone showed it, before Helm was started.
        """
        phases = self.result.phases
        began = [phase["began"] for phase in phases.get("phases", ()) if phase["what"] == self.met]
        return max(0.0, phases["red_at"] - min(began)) if began and phases["red_at"] else None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row of the table: the fault, what came of it in two cells, and the seconds until the run was red.

        For a healthy variant they are those that its run took.
        """
        if self.fault.healthy:
            colour = "green" if self.result.green else "FALSE ALARM"
            return self.fault.name, colour, "", f"{self.result.seconds:.1f} s"
        seconds = "" if self.seconds is None else f"{self.seconds:.1f} s"
        return self.fault.name, "caught" if self.caught else "MISSED", "named" if self.named else "NOT NAMED", seconds

    @property
    def why(self) -> str:
        """What is wrong, for a person; empty where all is right."""
        if self.right:
            return ""
        wanted = "green" if self.fault.healthy else f"{self.fault.link}, {self.fault.sentence!r}"
        (seen,) = self.result.diagnosis[:1] or [self.result.verdict]
        ended = f"the run ended with {self.result.code}: {seen}"
        return f"{self.fault.name}: expected {wanted}; {ended}; see {self.result.folder}"

    @property
    def _broken_link(self) -> tuple[str, str]:
        """The link that the diagnosis names, and all that it says of it: sentence, cause and evidence."""
        lines = self.result.diagnosis
        if not names_link(lines):
            return "", ""
        end = next((number for number, line in enumerate(lines) if line.startswith(CONSEQUENCE)), len(lines))
        named = lines[0].removeprefix(BROKEN_LINK_PREFIX).strip()
        return named.partition(" (")[0], "\n".join([named, *lines[1:end]])


@dataclass
class Bench:
    """Where faults are put to the suite: the good charts, where copies and runs go, and what deletes the clusters.

    The clusters' names begin with `prefix`.
    """

    folder: Path
    prefix: str
    engine: Engine
    delete_clusters: Callable[[], None]
    good: Path
    has_good_release: bool = False
    made: int = field(default=0)

    def on_new_clusters(self, fault: ChartFault) -> Verdict:
        """Meet a fault on clusters that the run makes, and deletes."""
        return Verdict(fault, self._run(fault.name, fault))

    def on_kept_clusters(self, fault: ChartFault) -> Verdict:
        """Meet a fault on clusters that a green run has left, and leave them green, or deleted.

        Raises `RuntimeError` where no run is green.
        """
        if not self.has_good_release:
            self._install_good("before")
        verdict = Verdict(fault, self._run(fault.name, fault, "--keep-clusters"))
        if verdict.result.code != USAGE and not self._is_good_again(f"{fault.name}-after"):
            print(f"  not green again after {fault.name}: the clusters are made again", flush=True)
        return verdict

    def by_an_upgrade(self, fault: ChartFault) -> Verdict:
        """Meet a fault by an upgrade from the good charts, on clusters that the run makes, and deletes."""
        return Verdict(fault, self._run(fault.name, fault, suite="upgrade"), met=UPGRADE)

    def _install_good(self, name: str) -> None:
        for attempt in ("", "-again"):
            if self._is_good_again(f"{name}-{self.made}{attempt}"):
                return
        raise RuntimeError("the suite is not green on new clusters with good charts: see the runs above")

    def _is_good_again(self, name: str) -> bool:
        result = self._run(name, None, "--keep-clusters")
        self.has_good_release = result.green
        if not result.green:
            print(f"  {name}: {result.verdict}; see {result.folder}", flush=True)
            self.delete_clusters()
        return result.green

    def _run(self, name: str, fault: ChartFault | None, *options: str, suite: str = "federation") -> Result:
        place = self.folder / name
        place.mkdir()
        charts, chosen = self.good, [*options, *(fault.arguments if fault else ())]
        if fault and fault.edits:
            charts = broken(fault, self.good, self.folder / "charts" / name)
        if fault and fault.values:
            file = self.folder / "charts" / f"{name}.yaml"
            file.write_text(yaml.safe_dump(dict(fault.values)))
            option = "--to-values" if suite == "upgrade" else "--values"
            chosen.append(f"{option}={f'{fault.cluster}=' if fault.cluster else ''}{file}")
        chosen += [f"--from={self.good}", f"--to={charts}"] if suite == "upgrade" else [f"--charts={charts}"]
        self.made += 1
        with ExitStack() as undo:
            slowed = Slowed()
            if fault and fault.cores:
                slowed = undo.enter_context(cores_allowed(fault.cores, self.engine))
            return Run(place, self.prefix, *chosen, suite=suite, slowed=slowed).result()


def faults(bench: Bench, chosen: Sequence[ChartFault], meet: Callable[[ChartFault], Verdict]) -> list[str]:
    """Put faults to the suite, a line for each and a table of all; returns a sentence for each that is not right.

    `meet` is a method of the bench's.
    """
    verdicts = []
    for fault in chosen:
        verdicts.append(meet(fault))
        print("  ".join(filter(None, verdicts[-1].row)), flush=True)
    lines, wrong = table(verdicts)
    print("\n".join(["", *lines, ""]))
    (bench.folder / "faults.txt").write_text("\n".join([*lines, *wrong]) + "\n")
    return wrong


def table(verdicts: Sequence[Verdict]) -> tuple[list[str], list[str]]:
    """The table of verdicts with its totals, and what is not as it should be."""
    met = [verdict for verdict in verdicts if not verdict.fault.healthy]
    healthy = [verdict for verdict in verdicts if verdict.fault.healthy]
    seconds = [verdict.seconds for verdict in met if verdict.seconds is not None] or [0.0]
    median, longest = statistics.median(seconds), max(seconds)
    caught, named = sum(verdict.caught for verdict in met), sum(verdict.named for verdict in met)
    lines = columns([("fault", "", "", "red after"), *(verdict.row for verdict in verdicts)], numbers=[3])
    lines.append(
        f"{len(met)} faults: {caught} caught, {named} named rightly; median {median:.1f} s, longest {longest:.1f} s"
    )
    lines.append(f"{len(healthy)} healthy variants: {sum(not verdict.right for verdict in healthy)} false alarms")
    wrong = [verdict.why for verdict in verdicts if not verdict.right]
    if all(verdict.met == INSTALLATION for verdict in met):
        late = [f"the median is over {MEDIAN_SECONDS_GOAL:.0f} s: {median:.1f} s"]
        wrong += late if median > MEDIAN_SECONDS_GOAL else []
        wrong += [
            f"{each.fault.name} was red only after {each.seconds:.1f} s, and the most is {LONGEST_SECONDS_GOAL:.0f} s"
            for each in met
            if each.seconds is not None and each.seconds > LONGEST_SECONDS_GOAL
        ]
    return lines, wrong


def good_charts(own: Path, given: Path | None, into: Path) -> Path:
    """The good charts: the folder that was given, or a copy of this project's own."""
    return given.resolve() if given else copy_of_own_chart(own, into)
