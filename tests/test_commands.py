"""What the tests start before they need it: tests/support/commands.py."""

from __future__ import annotations

import os
import sys

import pytest
from commands import Command


def python(code, **options):
    return Command(sys.executable, "-I", "-c", code, env=os.environ, **options)


def test_a_command_runs_in_a_folder_of_its_own_with_its_files():
    command = python(
        "print(open('name').read())", write_files=lambda folder: (folder / "name").write_text("Corner Shop")
    )
    assert command.output() == command.output() == "Corner Shop\n"


def test_a_command_that_fails_shows_what_it_has_printed():
    with pytest.raises(AssertionError, match="out of flour"):
        python("import sys; sys.exit('out of flour')").output()


def test_commands_run_one_after_the_other():
    seen = []
    first = python("open('end', 'x')")
    second = python("", write_files=lambda folder: seen.append((first.folder / "end").exists()))
    first.start()
    second.output()
    assert seen == [True]
