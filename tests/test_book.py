"""The book's sources keep the house rules: notebooks, labels, figures, words, names."""

import json
import re
import subprocess
import tomllib
from collections import Counter

import nbformat
import pytest
import yaml

from kexue import runtime
from tools import notebooks as nbs
from tools import set_repository
from tools.book import ROOT, documents, source

NOTEBOOKS = [pytest.param(path, id=path.stem) for path in nbs.notebooks()]
BOOK = sorted((ROOT / "book").rglob("*.md")) + nbs.notebooks()
LABEL = re.compile(r"(eq|fig|ex|tab)(-[a-z0-9]+){2,}")
FILLER = (
    r"leverag\w*|delv(?:e|es|ed|ing)|crucial\w*|powerful\w*|seamless\w*|intuitively|clearly|"
    r"obviously|trivially|it is easy to (?:see|show|check)|after some algebra|needless to say"
)
BRITISH = (
    r"colour\w*|behaviour\w*|neighbour\w*|favour\w*|grey|centre[ds]?|"
    r"\w*(?:normal|general|optim|regular|parameter|factor|minim|maxim|token|quant|vector|initial|"
    r"recogn|summar|visual|discret|random)is(?:e|es|ed|ing|ation)\b|modell(?:ed|ing)|labell(?:ed|ing)"
)


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    """Each notebook of the book; ``.path`` is where it is stored."""
    nb = nbformat.read(request.param, as_version=4)
    nbformat.validate(nb)
    return nb


@pytest.fixture
def code(notebook):
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cells, *kinds):
    """Yield (cell, output) for the outputs of the given kinds."""
    for cell in cells:
        for output in cell.outputs:
            if output.output_type in kinds:
                yield cell, output


def prose(path):
    """Return what a reader reads in a source: no code, no formulas, no addresses."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    for pattern in (r"```.*?```", r"\$\$.*?\$\$", r"\$[^$]+\$", r"`[^`]+`", r"\]\([^)]*\)"):
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return text


def test_table_of_contents_lists_every_source_and_nothing_else():
    listed = [source(name) for name in documents()]
    assert len(listed) == len(set(listed))
    assert set(BOOK) == set(listed)


def test_there_is_a_chapter():
    assert NOTEBOOKS, "a book without a chapter"


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_outputs_belong_to_the_code(path, capsys):
    assert nbs.main(["--check", str(path)]) == 0, capsys.readouterr().out


def test_notebook_ran_from_top_to_bottom(code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert list(outputs(code, "error")) == []


def test_notebook_stores_no_noise(code):
    for _cell, output in outputs(code, "stream"):
        assert output.name == "stdout", output.text
    stored = json.dumps([cell.outputs for cell in code])
    assert re.findall(r"\b0x[0-9a-f]{8,}|/(?:home|root|tmp|Users|work)/", stored) == []


def test_setup_cell_is_the_same_everywhere(code):
    assert [cell.source for cell in code if nbs.is_setup(cell)] == [nbs.setup_cell()]


def test_code_cells_are_short(code):
    long = [c.source.splitlines()[0] for c in code if len(c.source.splitlines()) > 25]
    assert long == []


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebook_is_small(path):
    assert path.stat().st_size < 650_000
    for cell, output in outputs(
        [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"],
        "display_data",
        "execute_result",
    ):
        for kind, data in output.data.items():
            limit = 300_000 if kind == "text/html" else 60_000
            assert len(data) < limit, (cell.source[:60], kind)


def test_figures_have_caption_name_and_alt_text(code):
    for cell, output in outputs(code, "display_data", "execute_result"):
        if not any(kind.startswith("image/") for kind in output.data):
            continue
        meta = cell.metadata.get("mystnb", {})
        where = cell.source[:80]
        assert len(meta.get("figure", {}).get("caption", "")) > 20, where
        assert meta["figure"].get("name", "").startswith("fig-"), where
        alt = meta.get("image", {}).get("alt", "")
        assert len(alt) > 20, where
        assert "$" not in alt and "`" not in alt, where
        shown = list(outputs([cell], "display_data", "execute_result"))
        assert len(shown) == 1, f"one figure, one cell: {where}"


def test_labels_follow_the_scheme_and_are_unique():
    labels = Counter()
    for path in BOOK:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            names = [c["metadata"].get("mystnb", {}).get("figure", {}).get("name") for c in cells]
            labels.update(filter(None, names))
            labels.update(re.findall(r'kx-explorer\\" data-name=\\"([^"\\]+)', text))
            text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        labels.update(re.findall(r"\$\$ *\(([\w-]+)\)", text))
        labels.update(re.findall(r"^:(?:label|name): *(\S+)", text, flags=re.MULTILINE))
        labels.update(re.findall(r"^\(((?:eq|fig|ex|tab)-[\w-]+)\)=", text, flags=re.MULTILINE))
    assert [label for label in labels if not LABEL.fullmatch(label)] == []
    assert [label for label, times in labels.items() if times > 1] == []


def test_labels_in_docstrings_exist():
    """A docstring of the package that names an equation names one of the book."""
    known = {m[0] for path in BOOK for m in LABEL.finditer(path.read_text(encoding="utf-8"))}
    for path in sorted((ROOT / "kexue").rglob("*.py")):
        named = {m[0] for m in LABEL.finditer(path.read_text(encoding="utf-8"))}
        equations = {label for label in named if label.startswith("eq-") and "-demo-" not in label}
        lost = sorted(equations - known)
        assert not lost, f"{path.name}: {lost} stand in no chapter"


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_words(path):
    """No filler that hides a step, American spelling."""
    for kind in (FILLER, BRITISH):
        assert re.findall(rf"\b(?:{kind})\b", prose(path), flags=re.IGNORECASE) == []


def test_the_repository_has_one_name():
    url = nbs.repository()
    assert set_repository.URL.fullmatch(url)
    assert url == runtime.REPOSITORY
    assert url in (ROOT / "README.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == url
    assert f'"git+{url}"' in nbs.setup_cell()
    _, owner, name = set_repository.parts(url)
    for path in set_repository.files():
        if path.is_relative_to(ROOT / "tests") or path.name == "set_repository.py":
            continue
        text = path.read_text(encoding="utf-8")
        others = set(re.findall(rf"github\.com/([\w.-]+)/{name}\b", text)) - {owner}
        assert others == set(), path


def test_set_repository_renames_everywhere(tmp_path, monkeypatch):
    old, new = "https://github.com/them/theirs", "https://github.com/you/your.book"
    files = {
        "_config.yml": f"repository:\n  url: {old}\n",
        "a/b.ipynb": f'{{"source": "%pip install \\"git+{old}\\""}}',
        "README.md": f"{old}, {old}.git, {old}-old, https://them.github.io/theirs/, "
        "https://colab.research.google.com/github/them/theirs/blob/main/x.ipynb",
        "data.bin": old,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for module in (set_repository, nbs):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    set_repository.main(new + "/")
    read = {name: (tmp_path / name).read_text(encoding="utf-8") for name in files}
    assert nbs.repository() == new
    assert read["a/b.ipynb"] == files["a/b.ipynb"].replace(old, new)
    assert read["README.md"] == (
        f"{new}, {new}.git, {old}-old, https://you.github.io/your.book/, "
        "https://colab.research.google.com/github/you/your.book/blob/main/x.ipynb"
    )
    assert read["data.bin"] == old
    set_repository.main(old)
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in files} == files


@pytest.mark.parametrize("url", ["", "kexue", "github.com/a/b", "https://github.com/a", "x" * 9])
def test_set_repository_refuses_what_is_no_repository(url):
    with pytest.raises(SystemExit, match=r"URL: got .* needs the form https://github\.com/"):
        set_repository.main(url)


def test_requirements_are_pinned_and_cover_the_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith(("#", "-c "))]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[><=~ ]", line)[0] for line in project["dependencies"]}
    assert needed <= {line.split("==")[0] for line in pins}
