"""Every command that the documents have is one that the suite's own parsers take, and the quick ones are run."""

from __future__ import annotations

import argparse
import configparser
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.config.command_line import CLUSTER_MARKERS, marker_matches
from fixtures.config.console import pytest_command
from fixtures.config.option_sources import option_table
from fixtures.core.project import PROJECT
from tests.unit.project.markdown import Document, documents

pytest_plugins = ["pytester"]

PROGRAMS = ("tox", "pytest", "python", "python3", "spire-federation", "pip")
# Other people's programs, of which no command is parsed here.
OTHERS = ("apt-get", "docker", "eval", "export", "helm", "kubectl", "pre-commit", "skopeo", "ufw")
WITHOUT_ARGUMENTS = ("tests.tools.options_page", "tests.tools.installed_files")
Take = Callable[[str], None]


def commands(document: Document) -> Iterator[str]:
    """Those of its blocks of shell, a line each, and those set as code in its sentences.

    In a sentence, a command of Python's may be named without its arguments: it ends with `--help` here.
    """
    for block in document.blocks:
        if block.language == "sh":
            yield from filter(None, block.text.replace("\\\n", " ").splitlines())
    for code in document.code:
        if re.match(rf"(\.venv/bin/)?({'|'.join((*PROGRAMS, *OTHERS))}) ", code):
            named = re.fullmatch(r"python -m [\w.]+( [a-z]+)?", code) and "options_page" not in code
            yield f"{code} --help" if named else code


COMMANDS = sorted({command for document in documents() for command in commands(document)})


class Taken(Exception):
    """Arguments that a parser took."""


@pytest.fixture
def take(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Has a command parsed by whatever would parse it. Fails where that refuses it."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(PROJECT / "tox.ini")
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        parse(parser, *arguments)
        raise Taken

    def take_module(name: str, arguments: Sequence[str]) -> None:
        if importlib.util.find_spec(name) is None:
            raise AssertionError(f"there is no module {name}")
        if name in WITHOUT_ARGUMENTS:
            assert not arguments
        elif name == "tests.tools.engine_elsewhere":
            take_pytest(arguments)
        elif name not in ("venv", "pytest"):
            package = importlib.util.find_spec(f"{name}.__main__") if "tools" not in name else None
            with monkeypatch.context() as patched:
                patched.setattr(argparse.ArgumentParser, "parse_args", parsed)
                try:
                    importlib.import_module(package.name if package else name).main(arguments)
                except Taken:
                    return
                except SystemExit as ended:
                    assert ended.code == 0, f"{name} refuses {arguments}"
                    assert arguments[-1:] == ["--help"]
        elif name == "pytest":
            take_pytest(arguments)

    def take_pytest(arguments: Sequence[str]) -> None:
        given = [each.replace("PORT", "8443") for each in arguments if not each.startswith("CHECKOUT")]
        config = pytester.parseconfig(
            *("-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(PROJECT), "-p", "fixtures.plugins.options", *given)
        )
        # What stands alone would be a path, and a shortened option is another's the day after.
        assert not set(config.args) - {str(PROJECT / "tests"), str(pytester.path)}, config.args
        known = {name.partition("=")[0] for name in given if name.startswith("--")}
        assert known <= known_options(), known - known_options()
        if config.option.markexpr:
            assert any(marker_matches(config.option.markexpr, each) for each in CLUSTER_MARKERS), config.option.markexpr

    def take_tox(arguments: Sequence[str]) -> None:
        own, _, handed = " ".join(arguments).partition(" -- ")
        match = re.fullmatch(r"-e ([\w,]+)", own)
        assert match, own
        for environment in match[1].split(","):
            section = tox[f"testenv:{environment}"]
            for line in (section.get("commands") or tox["testenv"]["commands"]).strip().splitlines():
                default = re.search(r"\{posargs:?(.*?)\}", line)
                if default:
                    line = line.replace(default[0], handed or default[1]).replace("{tox_root}", str(PROJECT))
                    take_words(shlex.split(line))
                else:
                    assert not handed, f"tox -e {environment} hands nothing on"

    def take_words(words: Sequence[str]) -> None:
        program, arguments = Path(words[0]).name, list(words[1:])
        if program == "tox":
            take_tox(arguments)
        elif program == "pytest":
            take_pytest(arguments)
        elif program == "spire-federation":
            take_pytest(pytest_command([] if arguments == ["OPTIONS"] else arguments)[4:])
        elif program in ("python", "python3"):
            assert arguments[0] == "-m"
            take_module(arguments[1], arguments[2:])
        elif program == "pip":
            # what comes last is installed: this project, or a package of a registry
            assert re.fullmatch(r"install( -q| -e| --constraint SUITE/constraints.txt)* ([a-z]+|\.|SUITE)", " ".join(arguments))
        else:
            assert program in OTHERS, f"no parser is known for {program}"

    def take_command(command: str) -> None:
        for part in re.split(r" (?:&&|\|) ", re.sub(r" > \S+$", "", command)):
            take_words(shlex.split(part.replace(" OPTIONS", "")))

    return take_command


def known_options() -> set[str]:
    """What `pytest --help` lists."""
    if not HELP:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
        )
        HELP.update(re.findall(r"(?<![\w-])--[a-z][\w-]*", done.stdout))
    return HELP


HELP: set[str] = set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_taken_by_what_it_starts(take: Take, command: str) -> None:
    take(command)


@pytest.mark.parametrize(
    "command",
    [
        "tox -e federation -- --kept-clusters",
        "tox -e federation -- --connectiv=auto",
        "tox -e federation -- --supply=offline",
        "tox -e federated",
        "tox -e upgrade -- --from",
        "tox -e reliability -- again",
        "tox -e lint -- --strict",
        "pytest -m federated",
        "python -m supply purge",
        "python -m supplies build",
        "spire-federation --chart=.",
        "helmsman --up",
    ],
)
def test_a_command_that_nothing_takes_is_red(take: Take, command: str) -> None:
    with pytest.raises((AssertionError, pytest.UsageError, KeyError, SystemExit, ModuleNotFoundError)):
        take(command)


def test_no_command_stands_where_it_is_not_looked_for() -> None:
    for document in documents():
        for block in document.blocks:
            if block.language != "sh":
                assert not re.match(rf"\s*({'|'.join((*PROGRAMS, *OTHERS))}) ", block.text), f"{document}: {block.text}"


@pytest.mark.parametrize("document", list(documents()), ids=str)
def test_every_option_that_is_named_is_one(document: Document, pytestconfig: pytest.Config) -> None:
    """Of pytest with the suite's options, of the project's own commands, or of a program that is named beside it."""
    sources = [*(PROJECT / "tests" / "tools").glob("*.py"), *PROJECT.glob("*/__main__.py"), *PROJECT.glob("*/*/__main__.py")]
    own = {name for path in sources for name in re.findall(r"\"(--[a-z][a-z-]*)\"", path.read_text())}
    assert {option.name for option in option_table(pytestconfig).options} <= known_options()
    for code in document.code:
        for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            assert name in known_options() | own or code.split()[0] in OTHERS, f"{document} names {name}"


def test_what_is_chosen_by_name_is_there() -> None:
    """Each `-k` of the documents selects tests of the suite that the command runs."""
    chosen = {
        (suite, name)
        for command in COMMANDS
        for suite, name in re.findall(r"tox -e (published|selftest|federation) -- -k (\w+)$", command)
        if name != "keys_of_both_kinds"  # CONTRIBUTING's example, which is put in place and found by its own test
    }
    assert {("published", "first_run"), ("selftest", "network")} <= chosen
    for suite, name in chosen:
        done = run("-m", "pytest", "--collect-only", "-q", "-m", suite, "-k", name)
        assert re.search(rf"^tests/{suite}/", done, flags=re.M), done


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "supply", "--help"], "prune"),
        (["-m", "supply", "prune", "--help"], "--dry-run"),
        (["-m", "supply", "index", "--help"], "output"),
        (["-m", "fixtures.helm", "images", "--help"], "--values"),
        (["-m", "tests.tools.reliability", "faults", "--help"], "--kept"),
        (["-m", "tests.tools.bench", "--help"], "tutorial"),
        (["-m", "pytest", "-m", "federation", "--collect-only", "-q"], "test_7_artefacts.py"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_the_quick_commands_run(arguments: list[str], words: str) -> None:
    assert words in run(*arguments)


def run(*arguments: str) -> str:
    """What Python prints for these arguments in the project. Fails with its errors."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
