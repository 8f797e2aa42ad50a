"""Where programs, node image, component images and chart come from on a machine that reaches no image registry.

Everything is built from Debian packages and Go modules at the versions of `versions.toml`. `python -m supply build`
makes it, once; what was made is described by `supply.catalogue.Catalogue`.
"""

import sys

if sys.platform == "win32":
    # Here, since whatever runs imports this first, and what follows imports modules that Windows lacks.
    raise SystemExit(
        "This suite runs on Linux and macOS. On Windows, run it in WSL 2 (`wsl --install`), with Docker there."
    )
