"""How fast it is: what the page and the table say follows from what the benchmarks stored."""

import importlib.util
import json
import math
import re
import sys
from dataclasses import fields
from hashlib import sha256

import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

from kexue._run_card import RunCard
from kexue.site import speed_draw, speed_rows
from tools.book import ROOT

spec = importlib.util.spec_from_file_location("_table", ROOT / "benchmarks" / "_table.py")
bench = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = bench  # dataclasses ask for it
spec.loader.exec_module(bench)

PAGE = ROOT / "book" / "how-fast.md"
RESULTS = {path.stem: json.loads(path.read_text()) for path in sorted(bench.RESULTS.glob("*.json"))}
# What has to be compared: result, part of "path, peer", and the ratio that must be reached, or the
# seconds where there is no peer.
MUST = [
    ("ddpm_unet", "denoising-diffusion-pytorch, as shipped", 3),
    ("ddpm_unet", "diffusers, as shipped", 3),
    ("ddpm_unet", "smalldiffusion, as shipped", 3),
    ("ddpm_unet", "denoising-diffusion-pytorch, tuned", 1.5),
    ("ddpm_unet", "diffusers, tuned", 1.5),
    ("ddpm_unet", "smalldiffusion, tuned", 1.5),
    ("sparse_parity", "the public loop", 8),
    ("sparse_parity_cuda", "the public loop", 100),
    ("sparse_parity_cuda", "batched products", 3),
    ("fourier_fit", "KDE, cross-validated", 50),
    ("fourier_fit", "minibatch Adam", 500),
    ("fourier_fit", "neural spline flow", 500),
    ("fokker_planck", "Euler, torchsde", 1e4),
    ("fokker_planck", "torchsde as shipped", 5),
    ("softmax_noise", "SDPA in a loop", 10),
    ("softmax_noise_cuda", "SDPA in a loop", 10),
    ("ddpm_sampling", "diffusers", 5),
    ("ddpm_sampling", "diffusers", 1.3),
    ("ddpm_digits", "smalldiffusion", 10),
    ("explorers", "savefig in a loop", 3),
    ("whole_book", "make test, cold", 480),
    ("whole_book", "make book, cold", 60),
    ("whole_book", "make book, warm", 10),
]
CARD = {
    "device": "NVIDIA H100 80GB HBM3", "driver": "580.1", "torch": "2.11.0+cu130", "cuda": "13.0",
    "python": "3.12.3", "precision": "float32", "revision": "abcdef0123", "date": "2026-11-22T1:0Z",
}  # fmt: skip


def row(**changes):
    """A stored row of a script."""
    made = bench.Row("fit", "Adam", "CPU s", bench.Median([8.0, 10, 12]), 2.0, 4, 20, 1.0)
    return made.stored() | changes


def test_a_row_says_what_its_times_say():
    made = bench.Row("fit", "Adam", "CPU s", bench.Median([8.0, 10, 12, 50, 9]), 2.0, 4, 20, 1.0)
    assert made.theirs == 10 and made.theirs.quartiles == (9, 12)
    assert made.ratio == 5 and made.share == 0.5 and made.met
    assert made.spread == (4.5, 6) and made.spread[0] <= made.ratio <= made.spread[1]
    assert not bench.Row("fit", "Adam", "CPU s", 7.9, 2.0, 4).met
    alone = bench.Row("fit", "-", "CPU s", None, 2.0, bar=1.9)
    assert alone.ratio is alone.spread is None and not alone.met
    assert json.loads(json.dumps(made.stored()))["repeats"] == {"theirs": 5}


def test_what_is_reported_is_stored_with_its_card(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(bench, "ARTIFACTS", tmp_path)
    rows = [bench.Row("fit", "Adam", "CPU s", 3.0, 1.0, 2), bench.Row("", "", "KL", 1.0, 2.0, 1)]
    assert bench.report("toy", rows, "shelf", "float64", {"digits": "00ff"}, curves={}) == 1
    assert capsys.readouterr().out.count("MISSED") == 1
    stored = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert stored["card"]["metrics"] == {"data_sha256": {"digits": "00ff"}}
    assert stored["card"]["precision"] == "float64" and stored["about"]["curves"] == {}
    assert [found["met"] for found in stored["rows"]] == [True, False]
    shown = tmp_path / "shelf" / "toy.json"
    assert json.loads(shown.read_text()) == stored
    card = RunCard.from_json(shown.with_name("card.json"))
    assert card.files == {"toy.json": sha256(shown.read_bytes()).hexdigest()}


@pytest.mark.parametrize("name", RESULTS)
def test_every_stored_figure_follows_from_the_stored_times(name):
    for found in RESULTS[name]["rows"]:
        sides = [found[key] for key in ("path", "peer", "metric", "theirs", "ours")]
        again = bench.Row(*sides, *(found[key] for key in ("bar", "aim", "limit")))
        assert (again.ratio, again.share, again.met) == tuple(
            found[key] for key in ("ratio", "share", "met")
        )
        if found["quartiles"]:
            ends = {k: found["quartiles"].get(k, [found[k]] * 2) for k in ("theirs", "ours")}
            assert all(low <= found[k] <= high for k, (low, high) in ends.items() if found[k])
        if found["spread"]:
            (a, b), (c, d) = ends["theirs"], ends["ours"]
            assert found["spread"] == pytest.approx([a / d, b / c])
        assert found["share"] is None or 0 < found["share"] <= 1, "faster than the limit"


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_has_a_card(name):
    card = RESULTS[name]["card"]
    assert set(card) == {field.name for field in fields(RunCard)}
    assert card["revision"] and not card["dirty"], "made from what no commit holds"
    assert bool(card["cuda"]) == name.endswith("_cuda") or name.startswith(("ddpm", "two"))


@pytest.mark.parametrize(("name", "what", "bar"), MUST)
def test_what_has_to_be_compared_is_compared(name, what, bar):
    rows = filter(speed_rows.timed, speed_rows.filled(RESULTS[name]["rows"]))
    assert any(what in f"{row['path']}, {row['peer']}" and row["bar"] == bar for row in rows)


def build(folder, page, results):
    """Build a page over results; return it and the warnings."""
    (folder / "benchmarks" / "results").mkdir(parents=True, exist_ok=True)
    for name, stored in results.items():
        path = folder / "benchmarks" / "results" / f"{name}.json"
        path.write_text(json.dumps(stored), encoding="utf-8")
    (folder / "conf.py").write_text(
        'extensions = ["myst_nb", "kexue.site.speed"]\nhtml_theme = "basic"\n'
        'myst_enable_extensions = ["deflist", "dollarmath"]\nexclude_patterns = ["_build"]\n'
    )
    (folder / "index.md").write_text(page, encoding="utf-8")
    app = SphinxTestApp("html", srcdir=folder)
    try:
        app.build()
        text = (app.outdir / "index.html").read_text(encoding="utf-8")
        return BeautifulSoup(text, "html.parser"), app.warning.getvalue()
    finally:
        app.cleanup()


def cells(page):
    return [" ".join(cell.text.split()) for cell in page("td")]


def test_the_page_shows_every_result_and_says_why_a_bar_is_missed(tmp_path):
    page, warnings = build(tmp_path, PAGE.read_text(encoding="utf-8"), RESULTS)
    assert not warnings
    ids = [found["id"] for found in page.select("[id]")]
    assert len(ids) == len(set(ids))
    shown = cells(page)
    missed = 0
    for stored in RESULTS.values():
        for found in speed_rows.filled(stored["rows"]):
            if speed_rows.timed(found) and found["ratio"] and (found["bar"] or found["aim"]):
                assert any(
                    text.startswith(f"{speed_rows.number(found['ratio'])} times") for text in shown
                )
            missed += not found["met"]
    said = "".join(term.text for term in page.select(".kx-misses dt"))
    assert len(re.findall("by a factor", said)) == missed
    assert all(len(said.text.split()) > 8 for said in page.select(".kx-misses dd"))
    for kind in ("speed", "speed-plot", "speed-summary"):
        listed = re.findall(rf"^```{{{kind}}} (.+)$", PAGE.read_text(), re.MULTILINE)
        names = set(" ".join(listed).split())
        assert set(RESULTS) <= names, f"results that no {{{kind}}} shows"
        assert names <= set(RESULTS), "results that are gone"


def test_a_row_a_miss_and_a_card_in_words(tmp_path):
    low = row(path="  at once", peer="", ratio=2.5, spread=[2.0, 3.0], met=False)
    rows = [row(), low, row(metric="KL, nats", ratio=0.8, bar=0.9, met=True, path="", peer="")]
    rows += [row(path="a fit", peer="-", theirs=None, ratio=None, spread=None, bar=3, aim=1)]
    results = {"toy_cuda": {"card": CARD, "about": {}, "rows": rows}}
    text = "```{speed} toy_cuda\nAdam\n: Because.\n```\n"
    page, warnings = build(tmp_path, f"# A\n\n{text}", results)
    assert not warnings
    assert page.table.caption.text.strip().startswith("toy.py, one NVIDIA H100 80GB HBM3")
    assert cells(page) == [
        *("fit against Adam", "10 s, ours 2 s of CPU time"),
        *("5 times (4.5 to 5.5) must reach 4, aim 20", "50 % of the limit"),
        *("fit, at once against Adam", "10 s, ours 2 s of CPU time"),
        *("2.5 times (2 to 3) missed: must reach 4, aim 20", "50 % of the limit"),
        *("fit, at once against Adam", "KL, nats: 10, ours 2"),
        *("1.25 of theirs; at most 1.11", "50 % of the limit"),
        *("a fit", "ours 2 s of CPU time", "at most 3 s, aim 1 s", "50 % of the limit"),
    ]
    assert page.dt.text == "fit, at once, Adam: 2.5 of 4, short by a factor 1.6"
    assert page.dd.text.strip() == "Because."
    page, _ = build(tmp_path, "# A\n\n```{speed-summary} toy_cuda other\n```\n\n" + text, results)
    assert page.p.text == (
        "Of 4 bars 3 are reached. Missed, each with its reason below: 1 of 4 in toy.py, one NVIDIA "
        "H100 80GB HBM3. Not measured yet: other."
    )
    card = page.select_one(".kx-card-line").text
    for part in ("H100", "driver 580.1", "torch 2.11.0", "CUDA 13.0", "2026-11-22", "abcdef0"):
        assert part in card


def test_what_is_missing_is_a_warning(tmp_path):
    stored = {"card": None, "about": {}, "rows": [row(met=False)]}
    _, warnings = build(tmp_path, "# A\n\n```{speed} toy\n```\n", {"toy": stored})
    assert "does not say why" in warnings and "has no run card" in warnings


def test_marks_stand_where_the_numbers_are(tmp_path):
    stored = {"card": CARD, "about": {}, "rows": [row(ratio=100.0), row(ratio=0.1, met=False)]}
    text = "# A\n\n```{speed-plot} toy\nRatios.\n```\n"
    page, _ = build(tmp_path, text, {"toy": stored})
    strips = page.select(".kx-strip")
    inner = [[float(svg["x"][:-1]) for svg in strip.select("svg svg")] for strip in strips]
    bar, aim = (100 * (math.log10(v) + 1) / 3 for v in (4, 20))  # from 0.1 to 100
    assert inner == [
        pytest.approx([bar, aim, 100], abs=0.01),
        pytest.approx([bar, aim, 0], abs=0.01),
    ]
    assert [bool(strip.select("circle")) for strip in strips] == [True, False]  # a cross is a miss
    label = page.select_one(".kx-ratios")["aria-label"]
    assert "Adam: 100, reaches 4" in label and "Adam: 0.1, misses 4" in label
    assert "Ratios." in page.figcaption.text and "H100" in page.table.text


def test_curves_go_down_where_the_numbers_do(tmp_path):
    points = {"cells": [{"s": 1, "e": 100}, {"s": 10, "e": 1}], "other": [{"s": 10, "e": 10}]}
    stored = {"card": CARD, "about": {"curves": points}, "rows": []}
    text = (
        "# A\n\n```{speed-curves} toy\n:x: s CPU seconds\n:y: e error\n:bar: 10\n\nErrors.\n```\n"
    )
    page, warnings = build(tmp_path, text, {"toy": stored})
    assert not warnings
    (x, y), (u, v), (_, w) = [
        [float(dot[key][:-1]) for key in ("cx", "cy")] for dot in page.select(".kx-curves circle")
    ]
    assert x < u and y < w < v and w == pytest.approx((y + v) / 2, abs=0.02)
    label = page.select_one(".kx-curves")["aria-label"]
    assert (
        label.startswith("error against CPU seconds") and "cells: from 100 at 1 to 1 at 10" in label
    )


def test_ticks_of_less_than_a_power_of_ten():
    axis = speed_draw.Axis([2.0, 9.0], whole=False)
    assert [label for _, label in axis.ticks()] == ["2", "5"]
