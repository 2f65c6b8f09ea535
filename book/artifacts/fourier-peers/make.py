"""Make the table of the Fourier density's peers again, with its run card: four minutes, one core.

    python book/artifacts/fourier-peers/make.py

The work is done by benchmarks/fourier_fit.py, which writes the table here as well. It needs zuko:
pip install 'kexue[bench]'.
"""

import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"

if __name__ == "__main__":
    sys.path.insert(0, str(BENCHMARKS))
    runpy.run_path(str(BENCHMARKS / "fourier_fit.py"), run_name="__main__")
