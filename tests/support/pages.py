"""The pages that users read: their code blocks, headings, links and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

README = "README.md"
OPERATORS, SENSORS, TRIGGERS, HOOKS, PLUGIN, SIMULATOR = (
    f"airflow_provider_codat/{room}/README.md"
    for room in ("operators", "sensors", "triggers", "hooks", "plugin", "simulator")
)
TESTS, BENCHMARKS = "tests/README.md", "tests/benchmarks/README.md"
GUIDES = (OPERATORS, SENSORS, TRIGGERS, HOOKS, PLUGIN, SIMULATOR, TESTS, BENCHMARKS)
"""The READMEs of rooms."""
PAGES = (README, *GUIDES)
"""Every page whose code blocks are run; paths from the root of the source."""
LINKED = (*PAGES, "CHANGELOG.md", ".github/SECURITY.md")
"""Every page whose links are checked."""


class Block(NamedTuple):
    """A code block: its page, the language that the fence names, and what is within."""

    page: str
    language: str
    text: str


def text(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)
    return [Block(page, *each) for each in found]


Which = tuple[str, str, str]
"""Which block: its page, its language, and a text within it that no other block of the page and language has."""


def block(which: Which) -> Block:
    """Return the one block that is meant."""
    page, language, within = which
    (found,) = [each for each in blocks(page) if each.language == language and within in each.text]
    return found


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> list[str]:
    """Return what links may name behind a ``#``: each heading as a forge spells it."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]


def links(page: str) -> list[tuple[str, str]]:
    """Return the text and the target of each link. A bracket in code is no link."""
    return re.findall(r"\[([^][]*)\]\(([^)]*)\)", re.sub(r"`[^`\n]*`", "", prose(page)))


def pictures(page: str) -> list[str]:
    return re.findall(r'<img src="([^"]+)" width="\d+" alt="[^"]+">', prose(page))


def section(page: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    (marks,) = re.findall(rf"^(#+) {re.escape(heading)}$", prose(page), re.MULTILINE)
    after = prose(page).split(f"\n{marks} {heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(marks)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(page: str, head: str) -> list[str]:
    """Return the first cells of the rows of the one table whose first cell this is."""
    (rows,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[ -|]+\|\n((?:\|.*\n)+)", prose(page), re.MULTILINE)
    return [row.split(" | ")[0].removeprefix("| ") for row in rows.splitlines()]


def names(cells: list[str]) -> set[str]:
    """Return the words in backticks, such as a parameter's name."""
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
