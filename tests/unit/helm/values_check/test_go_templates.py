"""What templates read of their values."""

from __future__ import annotations

import pytest

from fixtures.helm.values_check.go_templates import ANY, Scope, read_template


def paths(scope: Scope) -> set[str]:
    """What is read by its path, and what is below that alone."""
    return {".".join((name, *rest)) for name, below in scope.keys.items() for rest in _below(below)}


def _below(scope: Scope) -> list[tuple[str, ...]]:
    return [(name, *rest) for name, below in scope.keys.items() for rest in _below(below)] or [()]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ .Values.a }}{{ .Values.b.c }}", {"Values.a", "Values.b.c"}),
        ("{{ with .Values.a }}{{ .b }}{{ end }}{{ .Values.c }}", {"Values.a.b", "Values.c"}),
        ("{{ range .Values.a }}{{ .b }}{{ end }}{{ .Values.c }}", {f"Values.a.{ANY}.b", "Values.c"}),
        ("{{ if .Values.a }}{{ .Values.b }}{{ end }}{{ .Values.c }}", {"Values.a", "Values.b", "Values.c"}),
        ("{{ $a := .Values.a }}{{ with .Values.b }}{{ $a.c }}{{ end }}", {"Values.a.c", "Values.b"}),
        # The dot of a named template is taken for the top, as most are run; after it the outer one holds again.
        ('{{ with .Values.a }}{{ define "x" }}{{ .Values.b }}{{ end }}{{ .c }}{{ end }}', {"Values.a.c", "Values.b"}),
        ('{{ with .Values.a }}{{ block "x" $ }}{{ .Values.b }}{{ end }}{{ .c }}{{ end }}', {"Values.a.c", "Values.b"}),
        ("{{/* {{ .Values.a }} */}}{{ .Values.b }}", {"Values.b"}),
    ],
)
def test_a_template_reads_what_it_names_from_where_the_dot_is(template: str, expected: set[str]) -> None:
    read = Scope()
    read_template(template, read, set())
    assert paths(read) == expected
