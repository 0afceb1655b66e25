"""The pictures of the guides: all there, small, and each one that the browser takes."""

from __future__ import annotations

import re
from pathlib import Path

from pages import GUIDES, pictures

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / ".github" / "images"
TAKEN = re.findall(r'browser\.picture\("([\w-]+)"', Path(__file__).with_name("test_airflow_ui.py").read_text())


def test_the_guides_show_every_picture_that_is_taken():
    shown = [path for guide in GUIDES for path in pictures(guide)]
    assert sorted(shown) == sorted(f"../../.github/images/{name}.png" for name in TAKEN)
    assert {path.name for path in IMAGES.iterdir()} == {f"{name}.png" for name in TAKEN}


def test_each_is_below_150_kilobytes():
    assert {path.name for path in IMAGES.iterdir() if path.stat().st_size >= 150_000} == set()
