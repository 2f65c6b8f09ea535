"""The comparison of notebook outputs: close numbers pass, anything else fails."""

import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

from kexue.explore import interact
from tools.nbval_tolerance import close

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("KL 0.279", "KL 0.27902"),
        ("-1.2346e-03", "-1.2349e-03"),
        ("a  b\n0.5", "a b 0.5"),
        ("<td>0.12345</td>", "<td>0.12346</td>"),
        ("error 3.1e-16", "error 2.7e-16"),
        ("\N{MINUS SIGN}0.50000", "\N{MINUS SIGN}0.50001"),
    ],
)
def test_rounding_passes(stored, new):
    assert close(stored, new)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("KL 0.279", "KL 0.282"),  # one per cent
        ("KL 0.279", "W2 0.279"),
        ("0.5", "-0.5"),
        ("0.5", "0.5 0.5"),
        ("1797 images", "1798 images"),
        ("1797.", "1798."),
        ("<td>100.0</td>", "<td>101.0</td>"),
        ('data-ledger="eq-a"', 'data-ledger="eq-b"'),
        ("x0", "x1"),
        ("#336699", "#336690"),
        ("version 1.2.3", "version 1.2.4"),
        ("12s", "13s"),
        ("nan", "0.1"),
    ],
)
def test_changes_fail(stored, new):
    assert not close(stored, new)


def test_explorers_compare_their_curves():
    def line(slope, label="x"):
        def draw(k=1):
            _, axes = plt.subplots()
            axes.plot([0, 1], [0, slope * k])
            axes.set(ylim=(0, 3), xlabel=label)

        explorer = interact(draw, k=(1, 2, 1), alt="A line.", caption="A line.").explorer
        bundle, _ = explorer._repr_mimebundle_()
        return bundle["text/html"]

    honest = line(1.0)
    assert "kx-explorer" in honest
    assert close(honest, line(1.0001))
    assert not close(honest, line(1.1))
    assert not close(honest, line(1.0, label="y"))
    assert not close(honest, "1.0")


def test_nbval_uses_the_tolerance(tmp_path):
    """The real thing, on a notebook whose stored outputs are partly falsified."""
    v4 = nbformat.v4
    stored = {
        "print(1 / 3)": "0.33334\n",  # rounding: passes
        "print(2 / 3)": "0.6733\n",  # one per cent: fails
        "print('a')": "b\n",  # a word: fails
        "1 + 1;": "",  # the semicolon hides the value: passes
    }
    cells = [
        v4.new_code_cell(
            code,
            execution_count=number,
            id=f"c{number}",
            outputs=[v4.new_output("stream", name="stdout", text=text)] if text else [],
        )
        for number, (code, text) in enumerate(stored.items(), start=1)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "false.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-rp"]
    command += ["-p", "tools.nbval_tolerance", "-c", "/dev/null", "--rootdir", tmp_path, path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "2 passed" in run.stdout, run.stdout + run.stderr
    assert "2 failed" in run.stdout
    passed = [line for line in run.stdout.splitlines() if line.startswith("PASSED")]
    assert [line[-1] for line in passed] == ["0", "3"]
