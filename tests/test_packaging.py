"""What ships, and what it asks for. tests/test_provider.py sees what Airflow makes of it."""

from __future__ import annotations

import tarfile
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.build import build_sdist, build_wheel
from packaging.requirements import Requirement
from pages import GUIDES

from airflow_provider_codat import __version__

DISTRIBUTION = "airflow-provider-codat"
ROOT = Path(__file__).parents[1]
STEM = f"airflow_provider_codat-{__version__}"


def files(folder: str) -> set[str]:
    """Return the files that belong there: Python, the mark that it is typed, guides and pictures, data of the tests."""
    paths = (ROOT / folder).rglob("*")
    suffixes = {".py", ".typed", ".json", ".md", ".png", ".txt", ".yaml"}
    return {path.relative_to(ROOT).as_posix() for path in paths if path.suffix in suffixes}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a source distribution of this tree, and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = build_sdist(str(folder))
    assert name == f"{STEM}.tar.gz"
    with tarfile.open(folder / name) as archive:
        # Python 3.11.2, which Debian 12 has, knows no filter.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202 - ours
    return folder / STEM


def test_the_source_distribution_holds_the_package_the_examples_and_the_tests(sdist: Path) -> None:
    found = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    # .gitignore is what the build goes by.
    assert found == {
        *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"),
        *files("airflow_provider_codat"),
        *files("example_dags"),
        *files("tests"),
        *files(".ci/constraints"),
        *files(".github"),
    }


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Build the wheel as an installer does, from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sdist)
        return ZipFile(folder / build_wheel(str(folder)))


def test_the_wheel_holds_the_package_and_the_examples(wheel: ZipFile) -> None:
    assert set(wheel.namelist()) == {
        *files("airflow_provider_codat"),
        *(f"airflow_provider_codat/{name}" for name in files("example_dags")),
        *(f"{STEM}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
        f"{STEM}.dist-info/licenses/LICENSE",
    }
    assert "airflow_provider_codat/py.typed" in wheel.namelist()
    assert {guide for guide in GUIDES if guide.startswith("airflow_provider_codat/")} <= {*wheel.namelist()}


def test_the_metadata_says_what_an_index_needs(wheel: ZipFile) -> None:
    metadata = message_from_bytes(wheel.read(f"{STEM}.dist-info/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, __version__)
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text()
    assert {"Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(metadata.get_all("Classifier"))
    assert {"demo", "test"} == set(metadata.get_all("Provides-Extra"))


@pytest.mark.parametrize("airflow", ["2.11", "3.1", "3.2", "3.3"])
def test_airflows_own_constraints_hold_what_is_asked_for(airflow: str) -> None:
    (path,) = (ROOT / ".ci/constraints").glob(f"{airflow}.*.txt")
    assert path.stem in (ROOT / "README.md").read_text()
    own = dict(line.split("==") for line in path.read_text().splitlines() if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = [Requirement(each) for each in project["dependencies"]]
    extras = [Requirement(each) for extra in project["optional-dependencies"].values() for each in extra]
    # What a list does not name is anybody's to choose, as are the tools of the extra `test`.
    assert {each.name for each in dependencies} <= own.keys()
    asked = [each for each in [*dependencies, *extras] if each.name in own]
    assert [str(each) for each in asked if own[each.name] not in each.specifier] == []
