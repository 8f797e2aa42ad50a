"""Where programs, node image, component images and chart come from on a machine that reaches no image registry.

Everything is built from Debian packages and Go modules at the versions of `versions.toml`. `python -m supply build`
makes it, once; what was made is described by `supply.catalogue.Catalogue`.
"""
