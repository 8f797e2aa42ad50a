"""What other people's CI takes: the shell lines of the action and of the templates do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.core.project import PROJECT

ACTION: Mapping[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text())
WORKFLOW: Mapping[str, Any] = yaml.safe_load((PROJECT / ".github" / "workflows" / "federation.yml").read_text())
GITLAB: Mapping[str, Any] = yaml.safe_load((PROJECT / "docs" / "ci" / "gitlab-federation.yml").read_text())
# GitHub's own for `shell: bash`, and GitLab's for a job's lines.
GITHUB_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
GITLAB_SHELL = ("bash", "-eo", "pipefail")
RECORDER = '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORDED"\nexit "${RECORDED_CODE:-0}"\n'


def program(path: Path, text: str) -> None:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@dataclass
class Job:
    """A job on GitHub, whose action has installed the suite; `inputs` are those that are given."""

    folder: Path
    inputs: Mapping[str, str]
    code: int = 0

    @property
    def command(self) -> Path:
        """Where the action's install step leaves the suite's command."""
        return self.folder / "spire-federation" / "bin" / "spire-federation"

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the action's step `run` as the runner does."""
        (step,) = (each for each in ACTION["runs"]["steps"] if each.get("id") == "run")
        variables = {name: self._value(expression) for name, expression in step["env"].items()}
        environment = {
            **os.environ,
            **variables,
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_JOB": "charts",
            "RECORDED": str(self.folder / "recorded"),
            "RECORDED_CODE": str(self.code),
            "PYTHONPATH": str(PROJECT),
        }
        return subprocess.run(
            [*GITHUB_SHELL, "-c", step["run"]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def _value(self, expression: str) -> str:
        name = expression.removeprefix("${{ inputs.").removesuffix(" }}")
        return self.inputs.get(name, ACTION["inputs"][name]["default"])

    @property
    def outputs(self) -> dict[str, str]:
        """The step's outputs."""
        return dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())

    @property
    def arguments(self) -> list[str]:
        """What the suite's command was started with, but for the run's folder, which is another each time."""
        found = (self.folder / "recorded").read_text().splitlines()
        return [each for each in found if not each.startswith("--run-folder=")]


def recorded(folder: Path, inputs: Mapping[str, str] | None = None, code: int = 0) -> Job:
    """A job whose suite only records its arguments, and ends with the code."""
    job = Job(folder, inputs or {}, code)
    program(job.command, RECORDER)
    return job


def test_the_action_gives_the_suite_what_its_inputs_say(tmp_path: Path) -> None:
    options = "--strict\n\n--set=a=two words\n--set=b=$(touch injected)\n"
    given = {"marker": "upgrade", "charts": "charts dir", "from": "0.29.0", "to": "0.30.0", "options": options}
    job = recorded(tmp_path, given)
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert job.arguments == [
        *("-m", "upgrade", "--supply=published", "--charts=charts dir", "--from=0.29.0", "--to=0.30.0"),
        *("--strict", "--set=a=two words", "--set=b=$(touch injected)"),
    ]
    assert not (tmp_path / "injected").exists()


def test_by_default_the_action_runs_the_federation_of_the_newest_published_chart(tmp_path: Path) -> None:
    job = recorded(tmp_path)
    assert job.run().returncode == 0
    assert job.arguments == ["-m", "federation", "--supply=published"]


@pytest.mark.parametrize(("code", "verdict"), [(0, "green"), (1, "red"), (2, "red"), (4, "refused"), (5, "red")])
def test_the_actions_outputs_say_what_became_of_the_run(code: int, verdict: str, tmp_path: Path) -> None:
    job = recorded(tmp_path, code=code)
    assert job.run().returncode == code
    folder = Path(job.outputs["run-folder"])
    assert folder.is_dir()
    assert folder.parent == tmp_path
    assert job.outputs == {
        "verdict": verdict, "run-folder": str(folder), "artifact": f"charts-{folder.name}"
    }  # fmt: skip
    assert set(ACTION["outputs"]) == set(job.outputs)


def test_the_actions_line_starts_the_suite_itself(tmp_path: Path) -> None:
    job = Job(tmp_path, {"marker": "resilience", "options": "--collect-only\n-q"})
    program(job.command, f'#!/bin/sh\nexec {sys.executable} -m fixtures.config.console "$@"\n')
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/resilience/test_4_outage.py::" in done.stdout
    assert job.outputs["verdict"] == "green"


def test_no_expression_of_an_input_is_written_into_a_shell_line() -> None:
    jobs = WORKFLOW["jobs"].values()
    steps = [*ACTION["runs"]["steps"], *(step for job in jobs for step in job["steps"])]
    lines = [step["run"] for step in steps if "run" in step]
    assert len(lines) >= 4
    assert [each for each in lines if "${{" in each] == []


def test_the_workflow_gives_the_action_inputs_that_it_has() -> None:
    own = [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if step.get("uses") == "./"]
    assert len(own) == 2
    for step in own:
        assert set(step["with"]) <= set(ACTION["inputs"])


def gitlab_lines(lines: Sequence[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run lines of the GitLab job as a runner does, with the job's variables and these."""
    given = {**os.environ, **GITLAB["spire-federation"]["variables"], **variables}
    return subprocess.run(
        [*GITLAB_SHELL, "-c", "\n".join(lines)],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_gitlab_job_has_kind_serve_at_the_address_of_its_engine(tmp_path: Path) -> None:
    lines = GITLAB["spire-federation"]["before_script"]
    (finding,) = (each for each in lines if each.startswith("address="))
    done = gitlab_lines([finding, lines[-1]], tmp_path, ENGINE_NAME="localhost")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "kind-of-this-job.yaml").read_text())
    assert written == {"networking": {"apiServerAddress": "127.0.0.1"}}


def test_the_gitlab_job_ends_where_its_engine_has_no_address(tmp_path: Path) -> None:
    lines = GITLAB["spire-federation"]["before_script"]
    (finding,) = (each for each in lines if each.startswith("address="))
    assert gitlab_lines([finding, lines[-1]], tmp_path, ENGINE_NAME="no-such-engine.invalid").returncode != 0
    assert not (tmp_path / "kind-of-this-job.yaml").exists()


def test_the_gitlab_jobs_line_gives_the_suite_its_charts_options_and_kinds_settings(tmp_path: Path) -> None:
    (line,) = GITLAB["spire-federation"]["script"]
    command = tmp_path / "spire-federation"
    program(command, RECORDER)
    line = line.replace("/tmp/venv/bin/spire-federation", str(command))  # noqa: S108 - where the job has it
    done = gitlab_lines([line], tmp_path, RECORDED=str(tmp_path / "recorded"), OPTIONS="--strict --pace=chart")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "recorded").read_text().splitlines() == [
        *("-m", "federation", "--charts=.", "--supply=published", "--kind-config=kind-of-this-job.yaml"),
        *("--run-folder=federation-run", "--strict", "--pace=chart"),
    ]
