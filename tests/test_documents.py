"""The project's own papers: nothing dangling, nothing that contradicts the code."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import kexue

ROOT = Path(__file__).parents[1]
PAPERS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_one_version_everywhere():
    cff = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    versions = {kexue.__version__, project["version"], cff["version"]}
    assert versions == {kexue.__version__} == {cff["preferred-citation"]["version"]}
    assert f"## {kexue.__version__}" in read("CHANGELOG.md")


def test_the_citation_has_what_the_format_demands():
    cff = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    assert {"type", "title", "authors"} <= set(cff["preferred-citation"])


@pytest.mark.parametrize("name", PAPERS)
def test_links_inside_the_repository_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", read(name))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", PAPERS)
def test_every_make_target_that_is_named_exists(name):
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", read(name), re.M))
    assert named <= set(re.findall(r"^([a-z-]+):", read("Makefile"), re.M))


@pytest.mark.parametrize("name", PAPERS)
def test_nothing_is_left_to_fill_in(name):
    assert re.findall(r"\{\{\w+\}\}|TODO|FIXME|TBD", read(name)) == []


def test_the_licenses_are_the_ones_named():
    assert read("LICENSE").startswith("MIT License") and "The Kexue authors" in read("LICENSE")
    text = read("LICENSE-TEXT")
    assert text.startswith("Attribution 4.0 International")
    assert [f"Section {n} --" in text for n in range(1, 9)] == [True] * 8
