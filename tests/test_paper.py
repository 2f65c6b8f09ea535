"""The document to print: one set of ids, links that stay inside, answers at the end."""

import pytest
from bs4 import BeautifulSoup

from tools import paper

PAGE = """<html><head><link rel="stylesheet" href="../_static/a.css"><script src="../x/some.js">
</script><script src="../other.js"></script></head><body><article class="bd-article">
<section id="top"><h1><span class="section-number">{n}. </span>Title {n}<a class="headerlink">#</a>
</h1><div class="kx-head">Cite</div><p><a href="#eq">({n}.1)</a> <a href="{other}.html#eq">there</a>
<a href="{other}.html">all</a> <a href="../sheets/x.html">sheet</a> <a href="https://a.b/">web</a>
<a href="references.html#id7">[Su]</a></p>
<img src="pic.png"><div class="cell"><details class="hide">
<summary>Show</summary>code</details></div>
<div class="kx-eq"><div class="math" id="eq">\\[x\\]</div><details class="kx-mark kx-proved">
<summary><span aria-hidden="true">✓</span></summary>how</details></div>
<details><summary>A long step</summary><p>shown</p></details>
<section id="do-it"><span id="ex-{slug}-1"></span><h2>Do it</h2><p>Task.</p>
<details><summary>Hint</summary><p>Look at <a href="#eq">it</a>.</p></details>
<details><summary>Solution</summary><p>Done <a href="{other}.html#eq">so</a>.</p></details>
</section></section></article></body></html>"""
REFERENCES = """<article class="bd-article"><section id="references"><h1>References</h1>
<div class="citation" id="id7">Su, 2022</div><div class="citation" id="id8">Ho</div></section>
</article>"""
WORDS = ("title", "authors", "abstract", "note", "terms", "version", "url")


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    for n, slug, other in [(1, "one", "two"), (2, "two", "one")]:
        text = PAGE.format(n=n, slug=slug, other=other)
        (tmp_path / f"book/{slug}.html").write_text(text, "utf-8")
    (tmp_path / "book/references.html").write_text(REFERENCES, "utf-8")
    monkeypatch.setattr(paper, "captions", lambda: {"book/one": "A part"})
    monkeypatch.setattr(
        paper, "address", lambda name, place="": f"https://web/{name}" * ("sheets" not in name)
    )
    return tmp_path


def made(site, *names):
    text = paper.document(site, [f"book/{n}" for n in names], {w: f"its {w}" for w in WORDS})
    return BeautifulSoup(text, "html.parser")


def test_two_pages_become_one_document(site):
    page = made(site, "one", "two")
    ids = [node["id"] for node in page.select("[id]")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.select("a[href^='#']")]
    assert [link for link in links if link[1:] not in ids] == []
    first = page.select_one("article#one p")
    assert [a["href"] for a in first.select("a")] == [
        "#one.eq", "#two.eq", "#two", "https://a.b/", "https://web/book/references",
    ]  # fmt: skip
    assert "sheet" in first.text  # a link that nobody can follow is text
    assert page.select_one("article#two img")["src"] == "book/pic.png"
    assert [page.select_one("h1").text, page.select_one(".kp-caption").text] == [
        "its title",
        "A part",
    ]
    listed = [a.span.text.strip() for a in page.select(".kp-contents > a")]
    assert listed == ["1. Title 1", "Do it", "2. Title 2", "Do it", "Hints and solutions",
                      "1. Title 1", "2. Title 2"]  # fmt: skip
    wanted = {node["data-page-of"] for node in page.select("[data-page-of]")}
    assert wanted <= set(ids) and "answer.ex-one-1" in wanted


def test_what_belongs_to_the_screen_goes_and_folds_open(site):
    page = made(site, "one")
    assert not page.select(".headerlink, .kx-head, details.hide, .kx-mark")
    assert page.select_one(".kp-sign.kx-proved").text == "✓"
    (fold,) = page.select("details")
    assert fold.has_attr("open") and "shown" in fold.text
    assert [node.get("href") for node in page.head.select("link, script")] == ["_static/a.css"]


def test_a_chapter_alone_has_its_answers_and_what_it_cites(site):
    page = made(site, "one")
    exercise, answer = page.select_one("section[id='one.do-it']"), page.select_one(".kp-answer")
    assert "Done" not in exercise.text and "Solution on page" in exercise.text
    assert "Task" not in answer.text and "Look at it." in answer.text and "Done so." in answer.text
    assert answer.h3.a["href"] == "#one.ex-one-1"
    assert [a["href"] for a in answer.select("p a")] == ["#one.eq", "https://web/book/two"]
    assert [e.text for e in page.select("#cited .citation")] == ["Su, 2022"]
    assert page.select_one("p a[href='#one.cite-id7']") and page.select_one("[id='one.cite-id7']")
    assert page.select("article")[-1].select_one(".kp-terms a")["href"] == "its url"
    assert not page.select(".kp-title")


def test_the_running_head_is_a_string_in_css(site):
    path = site / "book/one.html"
    path.write_text(path.read_text("utf-8").replace("Title 1", 'A "quoted" \\(x\\)'), "utf-8")
    page = made(site, "one")
    assert """content: "1. A 'quoted' (x)" """.strip() in page.style.text
