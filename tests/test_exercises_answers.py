"""Answers to exercises: what is right, how a wrong one is helped, and what is never executed."""

import builtins
import html
import random
import re
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue import exercises
from kexue.exercises import answers, check_answer, expect, letters, read_answer, tokens
from kexue.exercises import values as exercise_values
from kexue.ledger.stated import mutants
from kexue.ledger.tex import spelling
from kexue.symbolic import equal

LETTERS = {"positive": "sigma theta alphabar_t betabar_{t-1}", "real": "x y", "unit": "r"}
NAMES = {
    name: symbol
    for kind, words in {**LETTERS, "natural": "N k"}.items()
    for name, symbol in letters.declared(words, kind)
}


@pytest.fixture(autouse=True)
def no_answers(monkeypatch):
    monkeypatch.setattr(answers, "_declared", {})


def ask(expected, answer, **keywords):
    """The reply to one answer, with the letters above unless told otherwise."""
    expect("ex-test-1", expected, **(keywords or {**LETTERS, "natural": "N k"}))
    return check_answer("ex-test-1", answer)


# -- right ------------------------------------------------------------------------------------

EQUIVALENT = {
    "sigma^2/(2*theta)": [
        "sigma**2/(2*theta)", "σ²/(2θ)", "σ^2/2/θ", "0.5 sigma sigma / theta",
        "2^-1*sigma^2*theta^-1",
        "v = sigma^2/(2 theta)", r"\frac{\sigma^2}{2\theta}", r"\frac{sigma^2}{2 theta}",
        r"$\tfrac12\,\sigma^{2}\,\theta^{-1}$", r"\left(\frac{\sigma}{\sqrt{2\theta}}\right)^2",
        "exp(2*log(sigma) - log(2 theta))", "(sqrt(sigma)*sqrt(sigma))^2/(theta+theta)",
        "|sigma|^2 / |2 theta|", "(sigma^2 + sigma^3)/(2 theta (1 + sigma))",
        "1e-1*5*sigma^2/theta",
        "tanh(theta) sigma^2 cosh(theta) / (2 theta sinh(theta))",
    ],
    "sqrt(betabar_{t-1}^2 - alphabar_t^2)": [
        "sqrt(beta_bar_{t-1}^2 - alpha_bar_t^2)", "sqrt(β̄_{t-1}^2 - ᾱ_t²)",
        r"\sqrt{\bar\beta_{t-1}^2-\bar{\alpha}_t^2}",
        r"\sqrt{\bar{\beta}^2_{t - 1}-\bar{\alpha}_{t}^{2}}",
        "sqrt((betabar_{t-1} - alphabar_t)(betabar_{t-1} + alphabar_t))",
    ],
    "x exp(-x^2/2) + y": ["y + x/exp(x²/2)", "y + x e^(-x^2/2)", r"y+x e^{-x^2/2}",
    r"y+x\exp\frac{-x^2}2"],
    "(1 + cos(pi x))/2": ["cos(pi x/2)^2", r"\cos^2\frac{\pi x}2", r"\frac12(1+\cos\pi x)",
    "1 - sin(pi*x/2)**2"],
    "exp(i pi k x)": ["cos(pi k x) + i sin(pi k x)", r"e^{i\pi kx}", "1/exp(-I*pi*k*x)"],
    "2^N": ["2*2^(N-1)", "exp(N log(2))", "(1+1)**N", r"2^{N+1}/2"],
    "log(1 + x^2)": ["-log(1/(1+x^2))", r"\ln(1+x^2)", r"\log(1+x^{2})"],
    "N!/k": ["factorial(N)/k", "gamma(N+1)/k", r"\frac{N!}{k}", r"\Gamma(N+1)/k", "N*(N-1)!/k"],
    "sqrt((1-r)^2)": ["1 - r", "|r - 1|"],
}  # fmt: skip


@pytest.mark.parametrize("expected", EQUIVALENT)
def test_every_way_to_write_it_is_right(expected):
    for answer in [expected, *EQUIVALENT[expected]]:
        reply = ask(expected, answer)
        assert reply and reply.kind == "right", (answer, reply)


def test_a_right_answer_says_whether_algebra_proved_it():
    measured = "agrees at 24 random points to 30 digits"
    for expected, answer, words in [
        ("sigma^2/theta", "sigma*sigma/theta", "the same by algebra"),
        ("1/(x-y) + 1/(x+y)", "2x/(x^2-y^2)", "the same by algebra"),
        ("cos(x)^2", "1 - sin(x)^2", "the same by algebra"),
        ("exp(i pi k x)", "cos(pi k x) + i sin(pi k x)", "the same by algebra"),
        ("sqrt((1-r)^2)", "1 - r", measured),  # only where r < 1, which algebra does not know
        ("N!", "gamma(N + 1)", measured),
        ("x^60", "x^60" + 20 * " + x - x*1", "the same by algebra"),
        ("(x+y)^60", "(x+y)^59*(x+y)", "the same by algebra"),
    ]:
        reply = ask(expected, answer)
        assert reply and reply.words == words, (answer, reply)


def test_dependent_letters_may_be_used_or_not():
    keywords = {"unit": "alphabar_t betabar_t", "where": {"betabar_t": "sqrt(1 - alphabar_t^2)"}}
    for answer in ("betabar_t^4", "(1 - ᾱ_t^2)^2", "1 - 2ᾱ_t^2 + ᾱ_t^4", "betabar_t^2 (1-ᾱ_t²)"):
        assert ask("betabar_t^4", answer, **keywords)
    reply = ask("betabar_t^4", "1 - alphabar_t^4", **keywords)
    assert reply.kind == "differs" and "alphabar_t = " in reply.words


def test_sympy_expressions_are_taken_by_the_names_of_their_letters():
    sigma, theta = sp.symbols(r"\sigma theta")  # other assumptions, another spelling
    assert ask("sigma^2/(2*theta)", sigma**2 / 2 / theta)
    assert ask("sigma^2/(2*theta)", 0.5 * sigma**2 / theta)
    assert ask("sigma^2/(2*theta)", sp.Symbol("q")).kind == "unread"
    assert ask("sigma^2/(2*theta)", sp.Integral(sigma, sigma)).kind == "unread"
    assert ask("sigma^2/(2*theta)", sp.Function("f")(sigma)).kind == "unread"


FORMULAS = [
    "sigma^2/(2*theta)",
    "sqrt(betabar_{t-1}^2 + theta^2)/sigma",
    "alphabar_t x - betabar_{t-1} y",
    "x exp(-x^2/(2 sigma^2)) + y/theta",
    "(theta + sigma)/(theta - 2 sigma) + x^3",
    "log(1 + theta)/theta - sigma/2",
    "sigma^2 (1 - exp(-2 theta))/(2 theta)",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_mutant_is_called_right_and_its_slip_is_named(formula):
    """Every slip of the pen that changes the function, as ``equal`` judges by itself."""
    expect("ex-test-1", formula, **LETTERS)
    expression, tried, named = read_answer(formula, NAMES), 0, 0
    slips = list(mutants(expression, NAMES.values()))
    for _, mutant in random.Random(formula).sample(slips, min(15, len(slips))):
        same = equal(expression, mutant).status != "differs"
        reply = check_answer("ex-test-1", mutant)
        assert bool(reply) == same, (mutant, reply)
        tried += not same
        named += not same and reply.kind not in ("differs", "letters", "close", "undefined")
    assert tried >= 9
    assert named >= 0.9 * tried, f"only {named} of {tried} slips were named"


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_rewriting_is_right(formula):
    expect("ex-test-1", formula, **LETTERS)
    e = read_answer(formula, NAMES)
    forms = [sp.expand, sp.factor, sp.together, sp.radsimp, sp.expand_log, sp.powsimp]
    forms += [lambda e: e.rewrite(sp.sin, sp.exp), lambda e: (e**2 + e) / (e + 1)]
    forms += [lambda e: sp.log(sp.exp(e / 3) ** 3), lambda e: 1 / (1 / e)]
    for form in forms:
        assert check_answer("ex-test-1", form(e)), form(e)
        assert check_answer("ex-test-1", str(form(e))), form(e)
    assert check_answer("ex-test-1", sp.latex(e))


# -- hints ------------------------------------------------------------------------------------

HINTS = [
    ("sigma^2/(2*theta)", "-sigma^2/(2*theta)", "sign", "up to the sign"),
    ("sigma^2/(2*theta)", "sigma^2/theta", "factor", "yours is 2 times the answer"),
    ("sigma^2/(2*theta)", "-3pi sigma^2/theta", "factor", "yours is -6 pi times"),
    ("sigma^2/(2*theta)", "sigma^2/(2*theta)/sqrt(2 pi)", "factor", "1/sqrt(2 pi) times"),
    ("sigma^2/(2*theta)", "i sigma^2/(2*theta)", "factor", "yours is i times"),
    ("sigma^2/(2*theta)", "0.34567 sigma^2/theta", "factor", "about 0.69134 times"),
    ("sigma^2/(2*theta)", "sigma^2/(2 theta) - 3", "constant", "add 3"),
    ("sigma^2/(2*theta)", "2*theta/sigma^2", "reciprocal", "one over"),
    ("sigma^2/(2*theta)", "sigma/sqrt(2*theta)", "root", "square root"),
    ("sigma^2/(2*theta)", "sigma^4/(2*theta)^2", "square", "the square"),
    ("sigma^2/(2*theta)", "theta^2/(2*sigma)", "swapped", "sigma and theta"),
    ("sigma^2/(2*theta)", "sigma/(2*theta)", "power", "it holds sigma"),
    ("sigma^2/(2*theta)", "sigma^2/2", "factor missing", "it holds theta"),
    ("sigma^2/(2*theta)", "x sigma^2/(2*theta)", "factor missing", "a factor is too many: x"),
    ("sigma^2/(2*theta)", "5 sigma^5/(3*theta)", "differs", "yours is"),
    ("exp(i pi k x)", "exp(-i pi k x)", "conjugate", "complex conjugate"),
    ("alphabar_t x - betabar_{t-1} y", "alphabar_t x", "term", "it holds betabar_{t-1}, y"),
    ("alphabar_t x - betabar_{t-1} y", "alphabar_t x + betabar_{t-1} y", "term sign", "betabar"),
    ("alphabar_t x - betabar_{t-1} y", "alphabar_t x-2 betabar_{t-1} y", "term factor", "betabar"),
    ("alphabar_t x - y", "alphabar_t x - y + sigma^2", "extra term", "too many: sigma^2"),
    ("alphabar_t (x - y)", "alphabar_t x", "term", "it holds alphabar_t, y"),
    ("sqrt(sigma^2 + theta^2)/x", "sigma/x", "term", "inside: it holds theta"),
    ("sqrt(sigma^2 - theta^2)/x", "sqrt(sigma^2 + theta^2)/x", "term sign", "inside"),
    ("sigma/x", "sqrt(sigma^2 + y^2)/x", "term", "a term is too many: y^2"),
    ("x exp(-theta)", "x exp(theta)", "exponent", "wrong sign"),
    ("sigma exp(-x^2)", "sigma^3 exp(-x^2) x/2", "letters", ""),
    ("sigma exp(-x^2) + sigma", "sin(y) + sigma", "letters", "does not depend on y"),
    ("sigma^2/theta", "0.333 sigma^2/theta + 0.667 sigma^2/theta*1.001", "close", "rounding"),
    ("sigma^2/(3*theta) + x^2", "0.3333 sigma^2/theta + x^2", "close", "not decimals"),
    ("1 + sigma^2", "1 + sigma^2 + sigma^2*sin(sigma)/3", "extra term", "sin"),
    ("1 + sigma^2", "sqrt(-1-sigma^2) + exp(900 sigma)", "undefined", "no value"),
    ("sigma^2", "0.5", "letters", "depends on sigma, yours does not"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "answer", "kind", "words"), HINTS)
def test_a_wrong_answer_is_helped(expected, answer, kind, words):
    reply = ask(expected, answer)
    assert not reply
    if words == "":  # a factor that holds several letters: any of these helps
        assert reply.kind in ("letter factor", "differs", "power", "letters")
    else:
        assert (reply.kind, words in reply.words) == (kind, True), reply
    assert expected not in str(reply), "the reply gives the answer away"


def test_an_index_that_is_off_by_one_is_found():
    keywords = {"positive": "beta_t beta_{t-1}", "real": "x"}
    reply = ask("beta_{t-1}^2 x + x^2", "beta_t^2 x + x^2", **keywords)
    assert (reply.kind, "beta_{t-1}" in reply.words) == ("index", True)
    assert ask("1/(N + 1)", "1/(N + 2)").kind in ("index", "differs", "term factor")


def test_a_factor_that_is_a_power_of_a_letter_is_found():
    reply = ask("x^2 + y", "7.5 (x^2 + y)/sigma^2")
    assert (reply.kind, "power of sigma" in reply.words) == ("letter factor", True)


def test_the_point_shown_tells_the_two_apart():
    reply = ask("sin(x)^2 + sigma", "sin(x) + sigma^3 + 1/7")
    found = re.fullmatch(
        r"at sigma = (\S+), x = (\S+): yours is (\S+), the answer (\S+)", reply.words
    )
    sigma, x, yours, right = (float(Fraction(v)) for v in found.groups())
    assert yours == pytest.approx(np.sin(x) + sigma**3 + 1 / 7, rel=1e-3)
    assert right == pytest.approx(np.sin(x) ** 2 + sigma, rel=1e-3)
    assert abs(yours - right) > 1e-3


# -- numbers ----------------------------------------------------------------------------------

NUMBERS = [
    (0.0067, 0.0067, "right", ""),
    (0.0067, "0.00675", "right", "within 1 percent"),
    (0.0067, "0.00648*1.04", "right", ""),
    (0.0067, np.float32(0.0067), "right", ""),
    (0.0067, torch.tensor(0.0067), "right", ""),
    (0.0067, torch.tensor([0.0067]), "right", ""),
    (0.0067, sp.Rational(67, 10000), "right", ""),
    ("1/3", Fraction(1, 3), "right", ""),
    ("1/3", np.int64(3), "reciprocal", "one over"),
    ("1/3", "0.3", "rounding", "to 1 digit"),
    ("1/7", "0.14", "rounding", "to 2 digits"),
    ("2/3", "0.7", "rounding", "to 1 digit"),
    ("2/3", "0.6", "close", "within 10 percent"),
    (0.0067, "0.007", "rounding", "to 1 digit"),
    (0.0067, -0.0067, "sign", "sign"),
    (0.0067, "0.67", "percent", "a percentage for a fraction"),
    (67, "0.67", "percent", "a fraction for a percentage"),
    (0.0067, "0.067", "power of ten", "too large by a factor ten"),
    (0.0067, "6.7e-6", "power of ten", "too small by a factor 10^3"),
    (3, 9, "square", "the square"),
    (3, "sqrt(3)", "root", "square root"),
    (5, 10, "factor", "yours is 2 times"),
    (5, "5 pi", "factor", "yours is pi times"),
    (5, 2.5, "factor", "yours is 1/2 times"),
    (5, 5.2, "close", "within 4 percent"),
    (5, 17, "differs", "too large"),
    (5, "-800", "differs", "too small"),
    (5, "3 + 4i", "differs", "far away"),
    (5, 0, "differs", "yours is 0"),
    (5, "exp(400)", "undefined", "no value"),
    (0, "1 - 1", "right", ""),
    (0, 2, "differs", "yours is 2"),
    ("-2", "2", "sign", "sign"),
    (5, float("nan"), "unread", "not a finite number"),
    (5, float("inf"), "unread", "not a finite number"),
    (5, "x", "unread", "which is a number"),
]


@pytest.mark.parametrize(("expected", "answer", "kind", "words"), NUMBERS)
def test_numbers(expected, answer, kind, words):
    reply = ask(expected, answer, within=0.01)
    assert reply.kind == kind and words in reply.words, reply
    assert bool(reply) == (kind == "right")


@given(st.floats(1e-9, 1e9), st.floats(-0.5, 0.5))
def test_a_number_is_right_exactly_within_its_tolerance(value, off):
    expect("ex-test-1", value, within=0.01)
    if abs(abs(off) - 0.01) > 1e-6:
        assert bool(check_answer("ex-test-1", value * (1 + off))) == (abs(off) < 0.01)


# -- what is not read, and never executed --------------------------------------------------------

UNREAD = [
    ("__import__('os').system('true')", "'_'"), ("().__class__", "'.__class__'"),
    ("sigma.real", "'.'"), ("lambda: 1", "':'"), ("[sigma]", "'['"), ("{sigma}", "'{'"),
    ("exec('1')", "\"'\""), ('eval("1")', "'\"'"), ("open(sigma)", "'open'"), ("print", "'print'"),
    ("sigma;theta", "';'"), ("sigma if theta else 1", "'if'"), ("sigma @ theta", "'@'"),
    ("f'{sigma}'", "\"'\""), ("sigma := 1", "'='"), ("sigma == theta", "'='"), ("σ=θ=1", "'='"),
    ("sigma\0", r"'\x00'"), ("sigma\u202etheta", r"'\u202e'"), ("\ud800", r"'\ud800'"),
    ("\frac{1}{2}", "raw string"), ("ｓｉｇｍａ", "'ｓ'"), ("𝜎", "'𝜎'"), ("٣", "'٣'"), ("½", "'½'"),
    ("\u0304", "needs a letter"), ("sigma\n+theta)", "')'"), ("", "empty"), ("  ", "empty"),
    ("(" * 400, "deep"), ("-" * 400 + "1", "deep"), ("2^" * 200 + "2", "deep"),
    ("{" * 300 + r"\pi" + "}" * 190, "not complete"), (r"{" * 200 + r"\pi" + "}" * 200, "deep"),
    ("1+" * 300 + "1", "601 characters"), ("9**9**9**9", "powers above 100"), ("9^9^9", "powers"),
    ("(9^99)^99", "2000 bits"), ("(9^99)^9^9", "powers"), ("2^(1e9)", "powers"), ("sigma^101",
    "powers"),
    ("pi^9^9", "powers"), ("1e999999999", "ten above"), ("factorial(10**9)", "above 50"), ("51!",
    "above 50"),
    ("gamma(10^50)", "above 50"), ("((20!)!)!", "above 50"), ("exp(10^30*log(9))", "above 500"),
    ("exp(exp(exp(sigma)))", "exponential of an exponential"), ("2^2^2^x", "exponential"),
    ("(sigma+theta)^99 (sigma-theta)^99", "3000 terms"), ("((sigma+1)^50+1)^50", "3000 terms"),
    ("1/0", "division by zero"), ("0^-1", "division by zero"), ("log(0)", "infinite"),
    ("sigma/(1-1)", "division by zero"), ("oo", "'oo'"), (r"\infty", "infty"), ("nan", "'nan'"),
    ("sigma theta)", "')'"), ("(sigma", "')' is missing"), ("sigma +", "not complete"), ("* sigma",
    "'*'"),
    ("2 3", "number 3"), ("sigma 2", "number 2"), ("1/2 theta", "above or below"), ("sin x",
    "brackets"),
    ("sin", "brackets"), ("q", "its letters: sigma, theta"), ("kx", "write a product as k*x"),
    ("f(x)", "'f'"), ("|sigma", "'|' is missing"),
    (r"\sum_{k=0}^{9} k", r"\sum"), (r"\int x", r"\int"), (r"\prod_{k=1}^9 k", r"\prod"),
    (r"\frac{1}{", "brace"),
    (r"\input{x}", r"\input"), (r"\write18{ls}", r"\write"), (r"\def\x{\x}\x", r"\def"),
    (r"\sin^{-1}x", "two things"),
    (r"\frac{1}", "missing"), (r"\sqrt[0]{2}", "division by zero"), (r"1.2.3\pi", "'1.2.3'"),
    ("1..2", "number .2"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), UNREAD, ids=lambda v: ascii(v)[:30])
def test_what_is_not_arithmetic_is_refused_with_a_sentence(answer, words, monkeypatch):
    expect("ex-test-1", "sigma^2/theta", positive="sigma theta", real="x", natural="k")

    def never(*arguments, **keywords):
        raise AssertionError("an answer was executed")

    for name in ("eval", "exec", "compile", "open"):
        monkeypatch.setattr(builtins, name, never)
    reply = check_answer("ex-test-1", answer)
    monkeypatch.undo()
    assert reply.kind == "unread" and words in reply.words, reply
    assert len(reply.words) < 200 and reply.words[0] != " "


def test_a_right_answer_executes_nothing_either(monkeypatch):
    """SymPy may import what it needs; what was typed reaches neither eval nor exec."""
    expect("ex-test-1", "sigma^2/theta", positive="sigma theta")
    executed = []
    for name in ("eval", "exec", "compile"):
        real = getattr(builtins, name)
        monkeypatch.setattr(
            builtins,
            name,
            lambda *a, real=real, **k: (executed.append(str(a[0])), real(*a, **k))[1],
        )
    replies = [check_answer("ex-test-1", r"\frac{0.5\sigma^2}{theta/2}")]
    replies.append(check_answer("ex-test-1", "sigma^3/theta + 1"))
    assert eval("1 + 1") == 2 and executed.pop() == "1 + 1"  # that it would be seen
    monkeypatch.undo()
    assert list(map(bool, replies)) == [True, False]
    assert [text for text in executed if "sigma" in text or "theta" in text] == []


@given(st.text(alphabet="xyσ2 9.e()+-*/^!|_{}\\=kN'\"[]\0πᾱ", max_size=30))
def test_no_text_raises(text):
    expect("ex-test-1", "x^2 + y", real="x y", natural="N k")
    assert isinstance(check_answer("ex-test-1", text), exercises.Reply)


def numbers_and_letters():
    leaf = st.sampled_from([NAMES["x"], NAMES["sigma"], NAMES["betabar_{t-1}"], sp.pi, sp.I])
    leaf = (
        leaf
        | st.integers(-9, 9).map(sp.Integer)
        | st.fractions(max_denominator=9).map(
            lambda f: sp.Rational(f.numerator % 100, f.denominator)
        )
    )
    return st.recursive(
        leaf,
        lambda inner: (
            st.tuples(inner, inner).map(lambda p: p[0] + p[1])
            | st.tuples(inner, inner).map(lambda p: p[0] * p[1])
            | st.tuples(inner, st.integers(1, 3)).map(lambda p: p[0] ** p[1])
            | inner.map(sp.sin)
            | inner.map(lambda e: sp.sqrt(1 + e**2))
        ),
        max_leaves=8,
    )


@given(numbers_and_letters())
def test_what_sympy_prints_is_read_as_it_is(e):
    if e.has(sp.zoo, sp.nan):
        return
    assert equal(read_answer(str(e), NAMES), e).status != "differs"


# -- bounded work -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "sqrt(" * 55 + "x" + ")" * 55,
        "sin(" * 55 + "x" + ")" * 55,
        "+".join(f"1/(x+{i})" for i in range(60)),
        "*".join(f"(x+{i})" for i in range(60)),
        "x^99*y^99*(x+y)^40/(x-y)^40",
        "exp(exp(x))^99 + exp(exp(1/(x-y)^99))",
        "gamma(gamma(gamma(x)))",
        "(1+(1+(1+(1+x^.1)^.1)^.1)^.1)^.1",
        "erf(99 i x) + erfc(1e9 x) + tan(1e90 x)",
        "x" + "!" * 60,
        "2^2^x + 3^(99 x)^99",
        "cos(x)^90 sin(x)^90 tan(x)^90",
        "asin(acosh(atanh(asin(x^99))))",
    ],
)
def test_long_computations_end(answer, monkeypatch):
    """What is evaluated is counted, not timed: at most so many steps for the whole reply."""
    expect("ex-test-1", "x^2 + y", real="x y")
    steps, real = [0], exercise_values._value

    def counted(*arguments):
        steps[0] += 1
        return real(*arguments)

    monkeypatch.setattr(exercise_values, "_value", counted)
    assert not check_answer("ex-test-1", answer)
    assert steps[0] < 60_000


# -- use --------------------------------------------------------------------------------------


def test_the_line_lists_what_can_be_checked():
    expect("ex-test-1", "sigma", positive="sigma theta")
    line = expect("ex-test-2:mean", "x", real="x")
    assert repr(line) == "2 answers can be checked: ex-test-1, ex-test-2:mean"
    assert line.letters == {"ex-test-1": ("sigma", "theta"), "ex-test-2:mean": ("x",)}
    assert 'data-answers="ex-test-1 ex-test-2:mean"' in line._repr_html_()
    assert repr(expect("ex-test-1", "theta", positive="theta")) == repr(line)  # the cell run again
    assert check_answer("ex-test-1", "theta")


def test_the_reply_is_one_quiet_line():
    reply = ask(["sigma", "<", "1"][0], "<b>")
    assert "<b>" not in html.unescape(reply._repr_html_()).replace("<b>not read</b>", "")[:40]
    assert "&lt;" in reply._repr_html_()
    assert repr(ask("sigma", "2 sigma")).startswith("ex-test-1 · not yet: right up to a constant")
    assert repr(ask("sigma", "sigma")).startswith("ex-test-1 · right: ")
    assert repr(ask(2, 2, within=0.1)) == "ex-test-1 · right"
    assert "<b>right</b>" in ask(2, 2, within=0.1)._repr_html_()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "answer: got NoneType, needs a formula"),
        (True, "answer: got bool, needs"),
        ([1.0], "answer: got list, needs"),
        (torch.zeros(2), r"answer: got shape \(2,\), needs"),
        (np.zeros((2, 2)), r"answer: got shape \(2, 2\), needs"),
        (torch.tensor(True), "answer: got Tensor, needs"),
        (sp.Matrix([1]), r"answer: got shape \(1, 1\), needs"),
    ],
)
def test_what_is_no_answer_raises(answer, message):
    expect("ex-test-1", 2)
    with pytest.raises(TypeError, match=message):
        check_answer("ex-test-1", answer)


def test_an_unknown_label_lists_the_known():
    with pytest.raises(ValueError, match=r"label: got 'ex-test-1', needs .*run the cell"):
        check_answer("ex-test-1", 1)
    expect("ex-test-1", 2)
    with pytest.raises(ValueError, match=r"label: got 'ex-test-9', needs one .*: ex-test-1"):
        check_answer("ex-test-9", 1)
    with pytest.raises(ValueError, match=r"label: got \[\], needs"):
        check_answer([], 1)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("exercise 1", "x"), {"real": "x"}, "label: got 'exercise 1', needs the form"),
        ((1, "x"), {"real": "x"}, "label: got 1, needs the form"),
        (("ex-a-1", "x + y"), {"real": "x"}, "answer: got 'x \\+ y', needs a formula: 'y' is no"),
        (("ex-a-1", "x("), {"real": "x"}, "answer: got .*not complete"),
        (("ex-a-1", "x"), {"real": "x", "unit": "x"}, "real: got 'x' twice"),
        (("ex-a-1", "x"), {"real": ["x"]}, "real: got list, needs a string"),
        (("ex-a-1", "x"), {"real": "x 2"}, "real: got '2', needs letters"),
        (("ex-a-1", "x"), {"real": "x a.b"}, "real: got 'a.b', needs letters"),
        (("ex-a-1", "x"), {"real": "x", "where": {"y": "x"}}, "where: got the key 'y'"),
        (("ex-a-1", "x"), {"real": "x", "within": 2.0}, "within: got 2, needs"),
        (("ex-a-1", "exp(90 + 1000 x)"), {"real": "x"}, "has no value at .* of 24"),
        (("ex-a-1", "x"), {"unit": "x", "where": {"x": "2"}}, "has no value at 24 of 24"),
        (("ex-a-1", float("nan")), {}, "answer: got nan, needs a formula"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused(arguments, keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        expect(*arguments, **keywords)


@pytest.mark.parametrize(
    ("typed", "name", "tex"),
    [
        ("sigma", "sigma", r"\sigma"),
        ("x_0", "x0", "x_0"),
        ("alpha_bar_t", "alphabar_t", r"\bar\alpha_t"),
        (r"\bar{\beta}_{t-1}", "betabar_{t-1}", r"\bar\beta_{t-1}"),
        ("ε̃_θ", "epsilontilde_theta", r"\tilde\epsilon_\theta"),
        ("σ₀", "sigma0", r"\sigma_0"),
        ("v", "v", "v"),
    ],
)
def test_one_letter_has_one_name(typed, name, tex):
    assert [t.text for t in tokens.tokens(typed)] == [name]
    assert [t.text for t in tokens.tokens(tex + r"\,")] == [name]
    assert spelling(letters.tex(name)) == tex
