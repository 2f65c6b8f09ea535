"""Networks as files: half-precision weights, with the architecture in the same file, no pickles."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from kexue import _check, schedule
from kexue.nets.classifier import Classifier
from kexue.nets.language import LanguageModel
from kexue.nets.mlp import MLP
from kexue.nets.unet import UNet

__all__ = ["load", "save"]

_KINDS = {"MLP": MLP, "UNet": UNet, "Classifier": Classifier, "LanguageModel": LanguageModel}


def save(model: nn.Module, path: str | Path) -> Path:
    """Write the weights (fp16) and the architecture to a .safetensors file.

    The schedule is stored by its name, so a denoiser's has to be None or one of
    ``kexue.schedule.discrete``.
    """
    from safetensors.torch import save as pack

    kind = _check.one_of("model", type(model).__name__, _KINDS)
    about = {"kind": kind, "config": model.config}
    if isinstance(model, UNet | MLP):
        given = model.schedule
        if given is None:
            about["T"] = model.T
        elif getattr(given, "name", None) and given == schedule.discrete(given.name, given.T):
            about["schedule"] = [given.name, given.T]
        else:
            raise ValueError(f"model: its schedule is {given!r}, needs None or one with a name")
    weights = {name: w.half().contiguous() for name, w in model.state_dict().items()}
    Path(path).write_bytes(pack(weights, {"kexue": json.dumps(about)}))
    return Path(path)


def load(path: str | Path) -> nn.Module:
    """Rebuild the network that :func:`save` wrote: float32, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file was not written by :func:`save`.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {path} is not there")
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {}).get("kexue", "null"))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path: {path} is not a safetensors file ({error})") from error
    if about is None:
        raise ValueError(f"path: {path} has no architecture, needs a file from kexue.nets.save")
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in about["config"].items()}
    if "schedule" in about:
        config["schedule"] = schedule.discrete(*about["schedule"])
    elif "T" in about:
        config["T"] = about["T"]
    with torch.device("cpu"):
        model = _KINDS[_check.one_of("kind", about["kind"], _KINDS)](**config)
    model.load_state_dict(weights)
    return model.eval()
