"""The ledger: a check that fails says where, a record says what was checked, TeX is read right."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given as cases
from hypothesis import strategies as st

from kexue.ledger import Record, Refuted, assumed, cited, defined, listening, measured, proved, tex
from kexue.ledger.printed import compare_all, labelled, read_notebook
from kexue.ledger.record import expressions, stored
from kexue.ledger.values import flatten
from kexue.symbolic import Gaussian, complete_square, symbols

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "book").rglob("*.ipynb"))

a, b, A, A1, B, B1 = symbols(
    r"\alpha_t \beta_t \bar{\alpha}_t \bar{\alpha}_{t-1} \bar\beta_t \bar\beta_{t-1}", positive=True
)
x, y, x0, eps, net = symbols(r"x_t x_{t-1} x_0 \varepsilon \epsilon_\theta", real=True)
BARS = {A: a * A1, B: sp.sqrt(a**2 * B1**2 + b**2)}


def heard(check, *arguments, **options):
    """The one outcome of a check, with nothing displayed."""
    with listening() as outcomes:
        check(*arguments, **options)
    (outcome,) = outcomes
    return outcome


# -- proved ------------------------------------------------------------------------------------


def test_proof_under_premises_without_alpha2_plus_beta2():
    """Precisions add; the identity alpha^2 + beta^2 = 1 is not among the premises."""
    precision = a**2 / b**2 + 1 / B1**2
    outcome = heard(proved, "eq-x", 1 / precision, B1**2 * b**2 / B**2, where=BARS)
    assert outcome.record.kind == "proved" and not outcome.refuted


def test_a_failing_proof_raises_with_a_counterexample_that_is_one():
    derived, stated = (x + 1) ** 2, x**2 + x + 1
    with pytest.raises(Refuted, match=r"^eq-x: the two sides differ at x_t = ") as error:
        proved("eq-x", derived, stated)
    value = sp.Rational(re.search(r"x_t = (-?[\d/]+)", str(error.value))[1])
    claims = [
        sp.Float(v) for v in re.findall(r"(-?[\d.e+-]+) (?:derived|stated)", str(error.value))
    ]
    assert derived.subs(x, value) != stated.subs(x, value)
    assert abs(derived.subs(x, value) - claims[0]) < 1e-6
    assert abs(stated.subs(x, value) - claims[1]) < 1e-6


def test_refuted_is_an_assertion_error_and_names_the_part():
    with pytest.raises(AssertionError, match="differ in var at"):
        proved("eq-x", Gaussian(a * x, b**2), Gaussian(a * x, b))


@pytest.mark.parametrize("wrong", [{B: a * B1 + b}, {}])
def test_a_wrong_or_missing_premise_refutes(wrong):
    with pytest.raises(Refuted):
        proved("eq-x", 1 / (a**2 / b**2 + 1 / B1**2), B1**2 * b**2 / B**2, where=wrong)


def test_numerical_agreement_is_recorded_as_measured_never_as_proved(monkeypatch):
    monkeypatch.setattr("kexue.symbolic.equality.zero_by", lambda left, right: None)
    record = heard(proved, "eq-x", (x + 1) ** 2, x**2 + 2 * x + 1, by="by magic").record
    assert record.kind == "measured"
    assert record.how == "not proved, agrees at 50 random points to 40 digits"


@pytest.mark.parametrize(
    "label, options, error",
    [
        ("ddpm-mean", {}, ValueError),
        ("eq-Ddpm", {}, ValueError),
        ("eq-ddpm mean", {}, ValueError),
        (7, {}, ValueError),
        ("eq-x", {"given": "eq-y"}, TypeError),
        ("eq-x", {"given": ["y"]}, ValueError),
        ("eq-x", {"given": ["eq-x"]}, ValueError),
    ],
)
def test_bad_labels_are_refused_by_name(label, options, error):
    with pytest.raises(error, match=r"^(label|given): got"):
        proved(label, x, x, **options)


def test_shapes_and_kinds_must_match():
    with pytest.raises(ValueError, match="one shape"):
        proved("eq-x", (x, y), x)
    with pytest.raises(TypeError):
        proved("eq-x", "x", x)


# -- measured ----------------------------------------------------------------------------------


def test_measured_accepts_arrays_tensors_functions_and_numbers():
    grid = np.linspace(1, 2, 61)
    tensor = torch.linspace(1, 2, 61, dtype=torch.float64, requires_grad=True)
    record = heard(measured, "eq-x", tensor, lambda: grid, tolerance=1e-10, by="twice").record
    assert (record.kind, record.points, record.tolerance) == ("measured", 61, 1e-10)
    heard(measured, "eq-x", 2.0, 2, tolerance=1e-3)


def test_measured_beyond_the_tolerance_names_the_worst_entry():
    left = np.ones(5)
    right = left + np.array([0, 0, 1e-3, 0, -1e-4])
    with pytest.raises(Refuted, match=r"0.001 > 0.0001 at entry 2: 1 against 1.001"):
        measured("eq-x", left, right, tolerance=1e-4)


def test_a_tolerance_wider_than_its_error_bar_supports_is_refused():
    draws = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).numpy() + 1
    bar = draws.std() / 100
    heard(measured, "eq-x", draws.mean(), 1.0, tolerance=4 * bar, error_bar=bar)
    with pytest.raises(Refuted, match="wider than 5 error bars"):
        measured("eq-x", draws.mean(), 1.0, tolerance=6 * bar, error_bar=bar)


def test_each_entry_has_its_own_error_bar():
    bars = np.array([0.1, 0.001])
    with pytest.raises(Refuted, match=r"5 error bars of 0.001"):
        measured("eq-x", [1.0, 2.0], [1.0, 2.0], tolerance=0.01, error_bar=bars)
    heard(measured, "eq-x", [1.0, 2.0], [1.2, 2.0], tolerance=3 * bars, error_bar=bars)


def test_a_tolerance_that_zeros_would_pass_is_refused():
    with pytest.raises(Refuted, match="zeros would pass"):
        measured("eq-x", [0.5, 0.4], [0.5, 0.4], tolerance=0.5)


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        (([1.0, np.nan], [1.0, 1.0], 0.1), ValueError, "left: got NaN"),
        (([1.0], [np.inf], 0.1), ValueError, "right: got NaN or infinite"),
        (([], [], 0.1), ValueError, "left: got an empty"),
        (([1.0], [1.0, 2.0], 0.1), ValueError, r"right: got shape \(2,\), needs \(1,\)"),
        (([1.0], [1.0], 0), ValueError, "tolerance: got 0"),
        (([1.0], [1.0], -1), ValueError, "tolerance: got -1"),
        ((["a"], [1.0], 0.1), TypeError, "left: got list"),
    ],
)
def test_bad_measurements_name_the_argument(arguments, error, text):
    with pytest.raises(error, match=text):
        measured("eq-x", *arguments)


@cases(
    st.lists(st.floats(0.5, 100), min_size=1, max_size=20),
    st.integers(0, 19),
    st.floats(1e-6, 0.1),
    st.booleans(),
)
def test_measured_refuses_exactly_what_lies_beyond(values, where, tolerance, beyond):
    right = np.array(values)
    left = right.copy()
    left[where % len(values)] += tolerance * (1.01 if beyond else 0.99)
    assert bool(heard(measured, "eq-x", left, right, tolerance=tolerance).refuted) == beyond


# -- premises and records ----------------------------------------------------------------------


def test_premises_return_their_value_and_words_are_needed():
    with listening():
        step = Gaussian(a * y, b**2)
        assert defined("eq-x", step) is step
        assert assumed("eq-y", "Bayes' rule") is None
        assert cited("eq-z", "Ho et al. 2020", key="ho2020") is None
        with pytest.raises(ValueError, match="source: got"):
            cited("eq-z", " ")
        with pytest.raises(TypeError, match="value: got 'x'"):
            defined("eq-x", "x")


def test_the_record_survives_html_and_is_the_same_each_time():
    options = {"by": 'from <Bayes\'> "rule" & β', "given": ["eq-bars"], "where": BARS}
    one, two = (
        heard(proved, "eq-x", a * A1 * x0, A * x0, **options).record._repr_html_() for _ in range(2)
    )
    assert one == two
    data = json.loads(html.unescape(re.search(r'data-ledger="([^"]*)"', one)[1]))
    assert (data["label"], data["kind"], data["given"]) == ("eq-x", "proved", ["eq-bars"])
    assert data["how"] == options["by"]
    assert sp.sympify(data["srepr"][0]) == A * x0
    assert data["stated"] == sp.latex(A * x0)
    assert "<Bayes" not in one


def test_only_symbols_name_the_parts_of_a_record():
    assert expressions({A: a * A1})["names"] == (sp.latex(A),)
    assert expressions({"mean": x, "var": b})["names"] == ()
    assert expressions({"mean": x, "var": b})["stated"] == rf"{sp.latex(x)},\quad {sp.latex(b)}"


def test_in_plain_python_a_check_prints_its_line(capsys):
    proved("eq-x", x + x, 2 * x, by="by counting")
    assert capsys.readouterr().out == "eq-x · proved by counting\n"


def test_in_ipython_a_check_displays_one_html_output(monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            shell.run_cell(
                "from kexue.ledger import proved\nimport sympy\nx = sympy.Symbol('x')\n"
                "proved('eq-x', x + x, 2*x, by='by counting')"
            )
    finally:
        InteractiveShell.clear_instance()
    (output,) = captured.outputs
    assert output.data["text/plain"] == "eq-x · proved by counting"
    assert output.data["text/html"].count("data-ledger=") == 1
    assert captured.stdout == ""


@pytest.mark.parametrize(
    "value",
    [
        x,
        3,
        (x, y),
        {A: a * A1, B: (x, y)},
        Gaussian(x, b**2),
        sp.Matrix([[x, y], [1, 2]]),
        sp.Eq(x, y),
    ],
    ids=str,
)
def test_flatten_and_rebuild_are_inverse(value):
    leaves, rebuild = flatten(value)
    assert rebuild(leaves) == value
    assert all(isinstance(leaf, sp.Expr) for leaf in leaves)


# -- printed = checked -------------------------------------------------------------------------

MEAN = a * B1**2 / B**2 * x + A1 * b**2 / B**2 * x0
READ = {
    "a law": (
        Gaussian(a * y, b**2),
        r"p(x_t\mid x_{t-1}) = \mathcal{N}\big(x_t;\, \alpha_t x_{t-1},\ \beta_t^2 \mathbf{I}\big)",
    ),
    "a standard law": (Gaussian(0, 1), r"x_T \sim \mathcal N(0, I)"),
    "definitions": (
        BARS,
        r"\bar\alpha_t = \alpha_t\bar\alpha_{t-1}, \qquad "
        r"\bar\beta_t^2 = \alpha_t^2\bar{\beta}_{t-1}^2 + \beta_t^2",
    ),
    "fractions": (
        MEAN,
        r"\tilde\mu_t(x_t,x_0) = \frac{\alpha_t\bar\beta_{t-1}^2}{\bar\beta_t^2}\,x_t"
        r" + \tfrac{\bar\alpha_{t-1}\beta_t^2}{\bar\beta^2_t} x_0 .",
    ),
    "a law and its abbreviation": (
        Gaussian(MEAN, B1**2 * b**2 / B**2),
        r"p(x_{t-1}|x_t,x_0)=\mathcal N\!\Big(x_{t-1};\tfrac{\alpha_t\bar\beta_{t-1}^2}"
        r"{\bar\beta_t^2}x_t+\tfrac{\bar\alpha_{t-1}\beta_t^2}{\bar\beta_t^2}x_0,\ "
        r"\tilde\beta_t^2I\Big),\quad \tilde\beta_t^2=\tfrac{\bar\beta_{t-1}^2\beta_t^2}"
        r"{\bar\beta_t^2}.",
    ),
    "aligned, arguments of a network": (
        (x - b**2 / B * net) / a,
        r"\begin{aligned}\mu_t &= \frac1{\alpha_t}\Big(x_t-\frac{\beta_t^2}{\bar\beta_t}"
        r"\epsilon_\theta(x_t,t)\Big)\end{aligned}",
    ),
    "a norm": (
        b**2 / (2 * a**2 * B1**2) * (eps - net) ** 2,
        r"\frac{\beta_t^2}{2\alpha_t^2\bar\beta_{t-1}^2}\left\lVert\varepsilon"
        r" - \epsilon_\theta(x_t, t)\right\rVert^2",
    ),
    "root and exponential": (
        sp.sqrt(1 - A**2) * sp.exp(-(x**2) / (2 * b**2)),
        r"\sqrt{1-\bar\alpha_t^2}\; e^{-x_t^2/(2\beta_t^2)}",
    ),
    "logarithm": (
        -((x - A * x0) ** 2) / (2 * B**2) - sp.log(2 * sp.pi * B**2) / 2,
        r"\log p = -\frac{\lVert x_t-\bar\alpha_tx_0\rVert^2}{2\bar\beta_t^2}"
        r" - \frac12\log(2\pi\bar\beta_t^2)",
    ),
    "two lines": (
        (a * x, b * x0),
        r"\begin{aligned} u &= \alpha_t x_t \\ w &= \beta_t x_0 \end{aligned}",
    ),
    "a chain over two lines": (
        a**2 * A1**2,
        r"\begin{aligned} k &= (\alpha_t \bar\alpha_{t-1})^2 \\ &= \alpha_t^2\bar\alpha_{t-1}^2"
        r"\end{aligned}",
    ),
    "names with parts": (
        b**2 * sp.Symbol(r"\operatorname{Cov}[x_0\mid x_t]", positive=True) ** 2
        - B * sp.Symbol(r"\nabla\log p_t(x_t)", real=True),
        r"\beta_t^2\,\operatorname{Cov}\big[x_0 \mid x_t\big]^2 - \bar\beta_t \nabla \log p_t(x_t)",
    ),
    "a function": (sp.Function("f")(x) * a, r"\alpha_t f(x_t)"),
    "a sum": (
        sp.Sum(sp.Symbol("k") ** 2, (sp.Symbol("k"), 1, sp.Symbol("n"))),
        r"\sum_{k=1}^{n} k^2",
    ),
}


def match(value, text, kind="proved"):
    records = {
        "eq-x": {"kind": kind, **expressions(value)},
        "eq-all": {"kind": "proved", **expressions((a, b, A, A1, B, B1, x, y, x0, eps, net))},
    }
    return compare_all({"eq-x": text}, records)[0]


@pytest.mark.parametrize("name", READ)
def test_printed_is_stated(name):
    found = match(*READ[name])
    assert (found.status, found.detail) == ("equal", "")


def edits():
    """Slips of the pen in the TeX above: each must be noticed."""
    slips = [
        (r"+", "-"), (r"-\frac", r"+\frac"), (r"\bar\beta", r"\beta"), (r"{t-1}", "t"),
        (r"^2", "^3"), (r"\alpha", r"\beta"), ("x_0", "x_t"), (r"\frac12", r"\frac13"),
        (r"\sqrt", ""), ("1-", "1+"),
    ]  # fmt: skip
    for name in ("definitions", "fractions", "a norm", "logarithm", "a law"):
        value, text = READ[name]
        start = text.index("=") if "=" in text and not isinstance(value, dict) else 0
        for old, new in slips:
            for hit in re.finditer(re.escape(old), text[start:]):
                at = start + hit.start()
                yield name, text[:at] + new + text[at + len(old) :]


def test_every_slip_of_the_pen_is_noticed():
    missed, tried = [], 0
    for name, text in edits():
        value, original = READ[name]
        if tex.flat(tex.tree(text)) == tex.flat(tex.tree(original)):
            continue
        tried += 1
        if match(value, text).status == "equal":
            missed.append((name, text))
    assert tried > 40
    assert missed == []


@pytest.mark.parametrize(
    "text, why",
    [
        (r"\gamma_t x_t", r"unknown symbol \\gamma_t"),
        (r"\alpha_t + ", "grammar"),
        (r"\alpha_t x_t \approx 1", r"relation \\approx"),
        (r"\begin{cases} \alpha_t \end{cases}", "environment cases"),
        (r"\mathbb{E}[x_t]", r"unknown symbol \\mathbb E"),
        (r"{\alpha_t", "brace"),
        (r"\frac{\alpha_t}", "missing"),
        (r"\big(\alpha_t x_t", "grammar|bracket"),
    ],
)
def test_what_is_not_understood_is_refused_not_guessed(text, why):
    found = match(a * x, text)
    assert found.status == "unread"
    assert re.search(why, found.detail)


def test_a_law_at_the_wrong_variable_is_noticed():
    assert match(Gaussian(a * y, b**2), r"p(x_{t-1}|x_t) = \mathcal N(x_t; \alpha_t x_{t-1}, \beta_t^2 I)").status != "equal"  # fmt: skip  # noqa: E501


def test_two_symbols_with_one_printed_name_are_refused():
    with pytest.raises(ValueError, match="two different ones"):
        tex.symbol_table([sp.Symbol("x"), sp.Symbol("x", positive=True)])


def test_labels_are_read_from_dollars_and_directives():
    text = (
        "$$a = b$$ (eq-one)\n\n$$\nc\n= d\n$$ (eq-two)\n\n$$no = label$$\n\n"
        "```{math}\n:label: eq-three\ne = f\n```\n\n:::{math}\n:label: eq-four\ng\n:::\n"
    )
    assert labelled(text) == {
        "eq-one": "a = b", "eq-two": "c\n= d", "eq-three": "e = f", "eq-four": "g",
    }  # fmt: skip


WITH_RECORDS = [p for p in NOTEBOOKS if stored(p)]


@pytest.mark.parametrize("path", WITH_RECORDS, ids=lambda p: p.stem)
def test_the_book_prints_what_was_checked(path):
    """No printed equation contradicts its record, and at least 70 % of the stated ones are read."""
    found = read_notebook(path)
    assert [(m.label, m.detail) for m in found if m.status == "differs"] == []
    proofs = [
        m for m in found if m.kind in ("proved", "measured", "defined") and m.status != "none"
    ]
    read = [m for m in proofs if m.status == "equal"]
    unread = [(m.label, m.detail) for m in proofs if m.status == "unread"]
    assert len(read) >= 0.7 * len(proofs), unread


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_label_of_the_book_has_one_record(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    records = [r["label"] for r in stored(path)]
    assert sorted(labelled(text)) == sorted(records)


@pytest.mark.parametrize("path", WITH_RECORDS, ids=lambda p: p.stem)
def test_every_cited_key_is_in_the_bibliography(path):
    bibliography = (ROOT / "book" / "references.bib").read_text("utf-8")
    keys = re.findall(r"^@\w+\{([^,\s]+),", bibliography, re.M)
    assert {r["key"] for r in stored(path) if "key" in r} <= set(keys)


def test_a_law_derived_by_completing_the_square_is_the_stated_one():
    """The whole posterior, mean and variance at once, as a chapter does it."""
    step, before, now = Gaussian(a * y, b**2), Gaussian(A1 * x0, B1**2), Gaussian(A * x0, B**2)
    posterior = complete_square(step.log(x) + before.log(y) - now.log(x), y)
    outcome = heard(proved, "eq-x", posterior, Gaussian(MEAN, B1**2 * b**2 / B**2), where=BARS)
    assert outcome.record.kind == "proved" and not outcome.refuted
    assert isinstance(outcome.record, Record)
