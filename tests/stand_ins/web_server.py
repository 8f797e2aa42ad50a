"""A web server of files on loopback: of programs, and of a chart repository."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from fixtures.artifacts.programs import downloads
from supply.published import DOWNLOAD_BASES


class FileServer(ThreadingHTTPServer):
    """A server of the files below `folder` at `url`; `asked` are the paths of the requests so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: FileServer

    def log_request(self, code: object = "-", size: object = "-") -> None:  # noqa: ARG002 - of the base class
        self.server.asked.append(self.path)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Have a server answer, in a thread of its own, until the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def publish_programs(server: FileServer, programs: Mapping[str, Path]) -> dict[str, str]:
    """Put programs (name -> file) where the suite asks for them.

    Returns the environment that has it ask this server, for builds of their own SHA-256.
    """
    environment = {variable: f"{server.url}/{name}" for name, variable in DOWNLOAD_BASES.items()}
    for name, download in downloads(environment).items():
        place = server.folder / urlsplit(download.url).path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if download.member:
            with tarfile.open(place, "w:gz", compresslevel=1) as archive:
                archive.add(programs[name], download.member)
        else:
            place.symlink_to(programs[name])
        environment[DOWNLOAD_BASES[name]] += f"#sha256={hashlib.sha256(place.read_bytes()).hexdigest()}"
    return environment
