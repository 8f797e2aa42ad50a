"""`python -m supply build | index | pin | prune`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from supply import catalogue, host, image_index, pin, plan, prune, versions
from supply.images import PREFIX


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (0, or 1 with the reason on standard error)."""
    parser = argparse.ArgumentParser(prog="python -m supply", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build everything that is missing, and give the node image to the engine")
    build.add_argument(
        "--spire",
        action="append",
        default=[],
        metavar="VERSION",
        help="a further SPIRE version of versions.toml (repeatable)",
    )
    index = commands.add_parser("index", help="make one image of several architectures out of an archive for each")
    index.add_argument("output", type=Path, help="the OCI archive to write, for `skopeo copy --all oci-archive:…`")
    index.add_argument("archives", nargs="+", type=Path, help="archives of one image, as `docker save` writes them")
    commands.add_parser("pin", help="renew supply/modules/*/go.mod and go.sum, and downloads.sha256, for versions.toml")
    pruned = commands.add_parser(
        "prune", help="remove what was built from other pins or sources than those of this checkout"
    )
    pruned.add_argument("--dry-run", action="store_true", help="only list it")
    given = parser.parse_args(arguments)
    try:
        if given.command == "index":
            print(image_index.write_index(given.output, given.archives))
        elif given.command == "pin":
            pin.pin_modules(versions.load(), print)
            pin.pin_downloads(versions.load(), print, os.environ)
        elif given.command == "prune":
            prune.prune(plan.cache_folder(), host.engine(), print, dry_run=given.dry_run)
        else:
            _build(given.spire)
    except plan.BuildError as error:
        print(f"supply: {error}", file=sys.stderr)
        return 1
    return 0


def _build(spire: list[str]) -> None:
    began = time.monotonic()

    def say(text: str) -> None:
        # one write, so that lines of steps side by side do not run into each other
        print(f"{time.monotonic() - began:7.1f}s  {text}\n", end="", flush=True)

    made = catalogue.make([f"{PREFIX}/spire-server:{version}" for version in spire], say=say)
    made.load_node_image(host.ensure_engine(say))
    print(f"supply is ready in {plan.cache_folder()} ({time.monotonic() - began:.1f} s); node image {made.node_image}")


if __name__ == "__main__":
    sys.exit(main())
