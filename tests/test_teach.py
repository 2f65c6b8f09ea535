"""What the pages for teachers and of errata say is there, and their numbers are the chapters'."""

import json
import re

import pytest

from tools.book import ROOT, chapters, source

TEACH = (ROOT / "book/teach.md").read_text(encoding="utf-8")
ERRATA = (ROOT / "book/errata.md").read_text(encoding="utf-8")


def notebook(chapter):
    return json.loads(source(chapter).read_text(encoding="utf-8"))


def title(chapter):
    return "".join(notebook(chapter)["cells"][0]["source"]).partition("\n")[0].removeprefix("# ")


def section(name, level="##"):
    """The text below a heading of the page for teachers."""
    found = re.split(rf"^{level} {re.escape(name)}$", TEACH, flags=re.M)
    assert len(found) == 2, f"{name}: not a heading of its own"
    return re.split(rf"^#{{2,{len(level)}}} ", found[1], flags=re.M)[0]


@pytest.mark.parametrize("chapter", chapters())
def test_every_chapter_has_a_row_and_its_misconceptions(chapter):
    path = source(chapter).relative_to(ROOT / "book").as_posix()
    assert f"[{title(chapter)}]({path})" in section("What each chapter needs and gives")
    rows = re.split(r"\n(?=: )", section(title(chapter), "###"))
    answers = [row.partition("\n\n")[0] for row in rows[1:]]
    assert 4 <= len(answers) <= 6
    labels = set(re.findall(r"\(eq-[\w-]+\)", "".join(map(str, notebook(chapter)["cells"]))))
    for answer in answers:
        assert answer.startswith(": *You will hear:* ") and "*In fact*" in answer
        named = re.findall(r"\{eq\}`(eq-[\w-]+)`", answer)
        assert named or f"({path}#" in answer, answer
        assert {f"({label})" for label in named} <= labels


def test_every_chapter_is_on_both_long_paths():
    for path in ("Four weeks", "A semester"):
        used = set(re.findall(r"<ex-(\w+)-\d+>", section(path)))
        assert len(used) == len(chapters())


def test_one_lecture_takes_ninety_minutes():
    minutes = re.findall(r"^\| \*\*(\d+)\*\*", section("One lecture"), re.M)
    assert sum(map(int, minutes)) == 90


def test_measured_numbers_of_the_errata_stand_in_the_chapters():
    stored = "".join(
        json.dumps(cell.get("outputs", ""))
        for name in chapters()
        for cell in notebook(name)["cells"]
    )
    text = re.sub(r"\{eq\}`[^`]*`|\]\([^)]*\)|version, [\d.]+", "", ERRATA)
    numbers = re.findall(r"\d+\.\d+", text)
    assert numbers and [number for number in numbers if number not in stored] == []


def test_the_errata_name_every_mirrored_article():
    for chapter in chapters():
        (article,) = set(
            re.findall(r"kexue\.fm/archives/(\d+)\]", str(notebook(chapter)["cells"][0]))
        )
        assert f"https://kexue.fm/archives/{article})" in ERRATA
