"""Bundle measured losses of language models of many sizes, as points (N, D, loss).

    python tools/make_scaling_points.py --openlm …/scaling --chinchilla …/analyzing-chinchilla \
        --out kexue/data_files/scaling_points.npz

Numbers only, from checkouts of two public repositories:

- ``openlm``: mlfoundations/scaling (MIT License, copyright 2024 mlfoundations), commit a003c49 of
  2024-04-01: 104 models of Gadre et al. (2024), arXiv:2403.08540. From ``exp_data/models/*.json``
  the parameters, with and without embeddings, the training tokens, and the loss on the validation
  set of C4 (``c4_val``, 174 million tokens), in nats a token.
- ``chinchilla``: epoch-research/analyzing-chinchilla (it states no license), commit 9225883 of
  2024-05-14: 245 models of Hoffmann et al. (2022), arXiv:2203.15556, read off the vector graphics
  of their Figure 4 by Besiroglu et al. (2024), arXiv:2404.10102; the loss off the color of a point.
  From ``data/svg_extracted_data.csv`` the model size, the training FLOP and the loss.

Arrays in the file: ``openlm`` float64 (104, 4): N, N without embeddings, D, loss; ``corpus`` uint8
(104,), an index into the list of that name in ``meta``; ``chinchilla`` float64 (245, 3): N, FLOP,
loss; ``meta``, a JSON string.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.make_hanzi import save

CORPORA = ["c4_original", "rpj", "rw_original"]


def openlm(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points and the corpus that each model was trained on."""
    points, corpus = [], []
    for path in sorted((folder / "exp_data/models").glob("*.json")):
        model = json.loads(path.read_text())
        made = model["hyperparameters"]
        losses = [run["loss"] for run in model["results"] if "c4_val" in str(run["val_data"])]
        assert len(losses) == 1, f"{path.name}: {len(losses)} losses on c4_val"
        points.append([made["params"], made["params_no_embed"], made["tokens"], losses[0]])
        corpus.append(CORPORA.index(model["dataset_name"]))
    return np.array(points, dtype=np.float64), np.array(corpus, dtype=np.uint8)


def chinchilla(folder: Path) -> np.ndarray:
    """Points, with FLOP in place of tokens."""
    with (folder / "data/svg_extracted_data.csv").open(newline="") as rows:
        return np.array(
            [
                [float(row[column]) for column in ("Model Size", "Training FLOP", "loss")]
                for row in csv.DictReader(rows)
            ]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--openlm", type=Path, required=True)
    parser.add_argument("--chinchilla", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("kexue/data_files/scaling_points.npz"))
    args = parser.parse_args()
    points, corpus = openlm(args.openlm)
    read_off = chinchilla(args.chinchilla)
    assert points.shape == (104, 4) and read_off.shape == (245, 3)
    meta = {
        "name": "scaling_points",
        "corpus": CORPORA,
        "openlm": "mlfoundations/scaling, commit a003c49; MIT License",
        "chinchilla": "epoch-research/analyzing-chinchilla, commit 9225883; no license stated",
    }
    save(args.out, openlm=points, corpus=corpus, chinchilla=read_off, meta=json.dumps(meta))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
