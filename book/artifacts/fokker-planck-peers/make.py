"""Make the table of particles against cells again, with its run card: three minutes, one core.

    python book/artifacts/fokker-planck-peers/make.py

The work is done by benchmarks/fokker_planck.py, which writes the table here as well. It needs
torchsde: pip install 'kexue[bench]'.
"""

import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"

if __name__ == "__main__":
    sys.path.insert(0, str(BENCHMARKS))
    runpy.run_path(str(BENCHMARKS / "fokker_planck.py"), run_name="__main__")
