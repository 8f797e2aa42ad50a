"""The page of all options, `docs/options.md`, as pytest's parser has them.

python -m tests.tools.options_page > docs/options.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

import pytest

from fixtures.config.option_sources import Option, option_table
from fixtures.core.project import PROJECT

# The pages that say more of an option.
MORE = {
    "testing-your-chart.md": (
        *("--charts", "--chart-version", "--values", "--set", "--set-string", "--set-file", "--set-json", "--pace"),
        *("--from", "--to", "--rollback", "--max-failed", "--from-values", "--from-set", "--to-values", "--to-set"),
    ),
    "registries-and-mirrors.md": ("--apply", "--chart-repository", "--kind-config", "--mirror", "--ca-file"),
    "your-own-clusters.md": (
        *("--context", "--allow-disruption", "--no-install", "--federate"),
        *("--connectivity", "--endpoint", "--demo-url", "--bundle-port", "--demo-port"),
        "--demo-namespace",
        *("--demo-images", "--demo-image-server", "--demo-image-client"),
        *("--namespace-label", "--node-selector", "--toleration"),
    ),
    "kept-clusters.md": ("--keep-clusters",),
    "offline-supply.md": ("--supply", "--image-archive", "--pull"),
    "getting-started.md": ("--preflight", "--install", "--keep-runs", "--run-folder", "--cluster-prefix"),
    "reading-a-red-run.md": ("--pause-on-fail",),
    "platforms.md": ("--timeout-scale",),
}

HEAD = """\
# Options

<!-- Written by `python -m tests.tools.options_page > docs/options.md` from the parser: change help texts there. -->

```sh
tox -e federation -- --cluster-prefix=mine- --keep-clusters=on-failure
```

What stands after `--` is for pytest; in an environment of your own (`pip install -e .`) it is `pytest -m federation
OPTIONS`, and `spire-federation OPTIONS` where the suite is installed. Put `=` between an option and its value, since
pytest looks for its settings beside a path that stands alone. `pytest --help` lists all options by topic.

Each option below is an environment variable, and an ini key of that name in small letters beside pytest's own keys:
`SPIRE_FEDERATION_CLUSTER_PREFIX` and `spire_federation_cluster_prefix`. The command line wins over the environment,
and that over the ini-file. A repeatable option has a line for each value there, a flag is `true` or `false`; those of
an upgrade mean nothing in other runs. The header of a run lists what is not default, and where it comes from. Bash
completes options after `pip install argcomplete` and `eval "$(register-python-argcomplete pytest)"`, as pytest's own.

What cannot work (an unknown folder, an option without a value, a taken port, two equal trust domains, no engine, a
folder that cannot be written, workers of pytest-xdist, retries of pytest-rerunfailures) is refused in a sentence before
anything is started; the exit code is then 4, and with `--run-folder` the folder's `run.json` has the sentence (but not
where pytest's own parser refuses an unknown option, or a value that is no choice).
"""

TAIL = """
## Of pytest and pytest-kind

These are no ini keys and variables of the suite's.

| option | what it does |
| --- | --- |
| `-m SUITE` | the suite that is run: one of {suites}; without it, the tests that need no cluster |
| `--strict` | lifetimes that do not fit, values that the chart does not read, and logged errors that nothing excuses, \
are red and not only warnings; pytest's own option, so its settings and markers are strict too |
| `--kubeconfig=FILE` | the kubeconfig with the contexts of `--context` |
| `--kind-bin=PATH`, `--kind-kubectl-bin=PATH` | kind and kubectl, instead of those on PATH or downloaded ones |
| `--kind-image=IMAGE` | Kind's node image, and with it the version of Kubernetes |
"""


def page(config: pytest.Config) -> str:
    """The page, in Markdown."""
    options = option_table(config).options
    topics = dict.fromkeys(option.topic for option in options)
    tables = (_table(topic, [option for option in options if option.topic == topic]) for topic in topics)
    suites = ", ".join(f"`{line.partition(':')[0]}`" for line in config.getini("markers") if "takes" in line)
    return "\n".join([HEAD, "\n\n".join("\n".join(table) for table in tables), TAIL.format(suites=suites)])


def _table(topic: str, options: Sequence[Option]) -> Iterator[str]:
    yield f"## {topic[0].upper()}{topic[1:]}"
    yield ""
    yield "| option | what it does | variable |"
    yield "| --- | --- | --- |"
    for option in options:
        more = [f"[{name.removesuffix('.md')}]({name})" for name, names in MORE.items() if option.name in names]
        words = "; see ".join([_cell(option.attributes["help"]), *more])
        yield f"| `{_form(option)}` | {words} | `{option.variable}` |"


def _form(option: Option) -> str:
    """How the option is written: its values are its choices, or what stands for them."""
    attributes = option.attributes
    if attributes.get("action") == "store_true":
        return option.name
    value = "\\|".join(attributes["choices"]) if "choices" in attributes else attributes["metavar"].replace("|", "\\|")
    return f"{option.name}[={value}]" if attributes.get("nargs") == "?" else f"{option.name}={value}"


def _cell(text: str) -> str:
    """A help text in a table: what Markdown would take for something else is escaped, and options are set as code."""
    parts = re.split(r"(`[^`]*`)", text.replace("%%", "%"))
    for place in range(0, len(parts), 2):
        escaped = parts[place].replace("<", "&lt;").replace("|", "\\|")
        parts[place] = re.sub(r"(?<![\w-])(--[a-z][a-z-]*(=[a-z-]+)?|-m [a-z]+)", r"`\1`", escaped)
    return "".join(parts)


class _Print:
    """Prints the page instead of running tests."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        print(page(config), end="")
        return 0


def main() -> int:
    """Print the page; returns the exit code."""
    return int(pytest.main(["-c", str(PROJECT / "pyproject.toml"), str(PROJECT / "tests")], plugins=[_Print()]))


if __name__ == "__main__":
    sys.exit(main())
