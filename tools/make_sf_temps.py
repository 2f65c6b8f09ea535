"""Bundle a year of hourly temperatures in San Francisco, one number an hour.

    python tools/make_sf_temps.py --csv …/sf-temps.csv --out kexue/data_files/sf_temps.npz

The file is ``vega_datasets/_data/sf-temps.csv`` of the wheel vega_datasets 0.9.0. Its index calls
the numbers public-domain NOAA data (https://www.weather.gov/disclaimer); the repository it was
taken from, vega/vega-datasets, says which: averages over 30 years, hour by hour, at San Francisco
International Airport (NOAA hourly normals, station USW00023234). They carry the dates of 2010.
One hour of the 8,760 is missing: 3 a.m. on 14 March, when the clocks went forward.

Arrays in the file: ``tenths`` int16 (8759,), tenths of a degree Fahrenheit in order of time, and
``meta``, a JSON string.
"""

import argparse
import csv
import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.make_hanzi import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("kexue/data_files/sf_temps.npz"))
    args = parser.parse_args()
    with args.csv.open(newline="") as rows:
        degrees = np.array([float(row["temp"]) for row in csv.DictReader(rows)])
    tenths = np.round(10 * degrees).astype(np.int16)
    assert np.array_equal(tenths / 10, degrees), "not whole tenths of a degree"
    meta = {
        "name": "sf_temps",
        "what": "hourly temperatures of a mean year (30-year averages), tenths of a degree F",
        "station": "San Francisco International Airport, USW00023234",
        "source": "NOAA hourly normals, by way of sf-temps.csv in vega_datasets 0.9.0",
        "license": "public domain (https://www.weather.gov/disclaimer)",
        "csv_sha256": sha256(args.csv.read_bytes()).hexdigest(),
    }
    save(args.out, tenths=tenths, meta=json.dumps(meta))
    print(f"{args.out}: {tenths.shape}, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
