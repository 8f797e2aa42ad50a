"""What stands in the documents: their links, headings, blocks and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fixtures.core.project import PROJECT

FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", flags=re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is marked as (`sh`, `yaml`, or nothing), and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Document:
    """A Markdown file of the project."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(PROJECT))

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """Its text without fenced blocks and comments."""
        return re.sub(r"<!--.*?-->", "", FENCE.sub("", self.text), flags=re.S)

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks."""
        return [Block(language, text) for _, language, text in FENCE.findall(self.text)]

    @property
    def code(self) -> list[str]:
        """What is set as code within its sentences."""
        return [" ".join(each.split()).replace("\\|", "|") for each in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def links(self) -> list[str]:
        """Where its links and images lead."""
        found = LINK.findall(re.sub(r"`[^`\n]*`", "", self.prose))
        return [markdown or html for markdown, html in found]

    @property
    def anchors(self) -> set[str]:
        """The names by which its headings are linked to, as GitHub makes them: a second one of a name has a number."""
        found: list[str] = []
        for heading in re.findall(r"^#+ (.+?)\s*$", FENCE.sub("", self.text), flags=re.M):
            name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            again = sum(each == name or bool(re.fullmatch(rf"{re.escape(name)}-\d+", each)) for each in found)
            found.append(f"{name}-{again}" if again else name)
        return set(found)


def documents() -> Iterator[Document]:
    """All of the project's."""
    for path in sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "supply").rglob("*.md")]):
        yield Document(path)
