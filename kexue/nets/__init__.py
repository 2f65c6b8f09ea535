"""The few networks that chapters train.

Denoisers are called ``eps = model(x_t, t)``, the language model ``logits = model(tokens)``.

=======================  =========================================================================
:class:`MLP`             residual MLP for small data: points in the plane, 8 x 8 digits
:class:`UNet`            convolutions and attention for images
:class:`EMA`             moving average of the weights
:func:`train`            the loop, a generator of (step, loss)
:class:`Classifier`      small convolutional classifier whose features measure the samples
:func:`save`, `load`     weights as fp16 safetensors with the architecture beside them
:class:`LanguageModel`   decoder-only transformer over bytes; its attention can be replaced
:func:`train_language`   its loop; :func:`language_loss` its nats for each byte
=======================  =========================================================================
"""

from kexue.nets.classifier import Classifier, fit, shift
from kexue.nets.denoiser import Denoiser, TimeEmbedding, replay
from kexue.nets.ema import EMA
from kexue.nets.language import LanguageModel, language_loss, train_language
from kexue.nets.mlp import MLP
from kexue.nets.storage import load, save
from kexue.nets.train import train
from kexue.nets.unet import UNet

__all__ = [
    "EMA",
    "MLP",
    "Classifier",
    "Denoiser",
    "LanguageModel",
    "TimeEmbedding",
    "UNet",
    "fit",
    "language_loss",
    "load",
    "replay",
    "save",
    "shift",
    "train",
    "train_language",
]
