"""Copies of the example DAGs whose constants are set, as users set them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_codat.demo.onboarding import example_dags

if TYPE_CHECKING:
    from pathlib import Path


def with_constants(example: str, folder: Path, **constants: object) -> Path:
    """Write a copy of an example DAG in which constants have these values, and return the path of the copy.

    :param example: the file's name without ``.py``.
    :param folder: where the copy goes.
    """
    path = folder / f"{example}.py"
    source = (example_dags() / path.name).read_text()
    for name, value in constants.items():
        source, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(source)
    return path
