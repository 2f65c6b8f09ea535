"""Networks and loops of other libraries, and how their denoisers are called."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from unittest.mock import MagicMock

import torch
import torch.nn.functional as F
from _table import peer
from torch import Tensor, nn

from kexue import nets
from kexue.schedule import DiscreteSchedule

MOST = 1024  # images of a batch at most; a smoke test sets it to 2
UNUSED = ("torchvision", "torchvision.transforms", "torchvision.utils")


def load(module: str) -> ModuleType:
    """Import a peer, with a dummy for torchvision, which the peers import and the benchmarks don't.

    PyPI's torchvision does not go with a CPU build of torch.
    """
    kept = {name: sys.modules[name] for name in UNUSED if name in sys.modules}
    sys.modules |= {name: MagicMock(__spec__=ModuleSpec(name, None)) for name in UNUSED}
    try:
        peer(module.partition(".")[0])
        return importlib.import_module(module)
    finally:
        for name in UNUSED:
            del sys.modules[name]
        sys.modules |= kept


def ddpm_pytorch() -> nn.Module:
    """The U-Net of denoising-diffusion-pytorch, 2.6 M parameters."""
    library = load("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    return library.Unet(32, dim_mults=(1, 2, 4), channels=1)


def diffusers(channels: tuple[int, ...] = (32, 64, 96)) -> nn.Module:
    """``UNet2DModel`` of diffusers with attention at the coarsest level, 2.6 M parameters."""
    library = peer("diffusers")
    plain = len(channels) - 1
    return library.UNet2DModel(
        32, 1, 1, block_out_channels=channels,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
    )  # fmt: skip


def smalldiffusion() -> nn.Module:
    """The U-Net of smalldiffusion, 2.7 M parameters, as its example on FashionMNIST scales it."""
    library = load("smalldiffusion")
    unet = library.Scaled(library.Unet)
    return unet(32, 1, 1, ch=32, ch_mult=(1, 2, 3), attn_resolutions=(16,))


NETWORKS = {
    "denoising-diffusion-pytorch": ddpm_pytorch,
    "diffusers": diffusers,
    "smalldiffusion": smalldiffusion,
}


class Ours(nets.Denoiser):
    """A peer's network in our parametrization: everything is ours but the network."""

    def __init__(self, name: str, schedule: DiscreteSchedule) -> None:
        super().__init__(schedule)
        self.name, self.network = name, NETWORKS[name]()
        if name == "smalldiffusion":  # its two features of log sigma, so that none comes twice
            self.network.sig_embed.scaling_factor = 0.3

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        """The network's output; smalldiffusion takes x / alpha and, for the time, sigma / alpha."""
        if self.name == "smalldiffusion":
            alpha, sigma = (a[t].view(-1, 1, 1, 1) for a in (self.alpha, self.sigma))
            return self.network(x / alpha, sigma / alpha)
        if self.name == "diffusers":
            return self.network(x, t - 1, return_dict=False)[0]
        return self.network(x, t - 1)


@dataclass
class Run:
    """A training, and what is made of it."""

    steps: Iterator  # a step of training each
    average: Callable[[], list[Tensor]]  # the averaged weights as they are now
    network: nn.Module  # into which they fit
    eps: Callable[[Tensor, Tensor], Tensor]  # its estimate of the noise in x_t at t = 1..T
    schedule: DiscreteSchedule
    batch: int  # images a step


def draw(x0: Tensor, batch: int) -> Tensor:
    """A batch of the data, which are on the device already: no loader slows the peers down."""
    return x0[torch.randint(len(x0), (min(batch, MOST),), device=x0.device)]


def shipped_ddpm_pytorch(x0: Tensor) -> Run:
    """The step of its ``Trainer`` with the settings of its README: fp16, two batches of 32 a step.

    Without the random flips, which would make other characters.
    """
    library = load("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    model = library.GaussianDiffusion(ddpm_pytorch(), image_size=x0.shape[-1]).to(x0.device)
    images, kind = (x0 + 1) / 2, x0.device.type
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-5, betas=(0.9, 0.99))
    ema = library.EMA(model, beta=0.995, update_every=10).to(x0.device)
    scaler = torch.amp.GradScaler(kind, enabled=kind == "cuda")

    def steps() -> Iterator[float]:
        while True:
            total = 0.0
            for _ in range(2):
                with torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
                    loss = model(draw(images, 32)) / 2
                total += loss.item()
                scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            ema.update()
            yield total

    average = ema.ema_model
    schedule = DiscreteSchedule.from_alpha_bar(average.alphas_cumprod.double().cpu())

    def eps(x: Tensor, t: Tensor) -> Tensor:
        return average.model_predictions(x, t - 1).pred_noise

    return Run(steps(), lambda: list(average.parameters()), average, eps, schedule, 64)


def shipped_diffusers(x0: Tensor, images: int = 3380, epochs: int = 100) -> Run:
    """The loop of its script ``train_unconditional.py`` with that script's defaults: fp32, 16."""
    library, training = peer("diffusers"), importlib.import_module("diffusers.training_utils")
    model = diffusers().to(x0.device)
    noise = library.DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    rate = importlib.import_module("diffusers.optimization").get_scheduler(
        "cosine", optimizer, num_warmup_steps=500,
        num_training_steps=math.ceil(images / 16) * epochs,
    )  # fmt: skip
    ema = training.EMAModel(
        model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4
    )

    def steps() -> Iterator[float]:
        while True:
            clean = draw(x0, 16)
            e = torch.randn(clean.shape, device=clean.device)
            t = torch.randint(0, 1000, (len(clean),), device=clean.device).long()
            loss = F.mse_loss(model(noise.add_noise(clean, e, t), t).sample.float(), e.float())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            ema.step(model.parameters())
            yield loss.detach().item()

    schedule = DiscreteSchedule.from_alpha_bar(noise.alphas_cumprod.double())
    return Run(
        steps(), lambda: ema.shadow_params, model, lambda x, t: model(x, t - 1).sample, schedule, 16
    )


def shipped_smalldiffusion(x0: Tensor) -> Run:
    """Its own ``training_loop`` as its example on FashionMNIST calls it: fp32, batches of 1024."""
    library = load("smalldiffusion")
    model = smalldiffusion().to(x0.device)
    sigmas = library.ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)

    class Batches:
        def __iter__(self) -> Iterator[Tensor]:
            while True:
                yield draw(x0, 1024)

    average = [p.detach().clone() for p in model.parameters()]

    def steps() -> Iterator[float]:
        for k, state in enumerate(library.training_loop(Batches(), model, sigmas, lr=7e-4)):
            value = state.loss.item()
            decay = min(0.999, (1 + k) / (10 + k))  # torch_ema's
            torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 1 - decay)
            yield value

    schedule = DiscreteSchedule.from_alpha_bar(1 / (1 + sigmas.sigmas.double() ** 2))
    ratio = ((1 - schedule.alpha_bar_table) / schedule.alpha_bar_table).sqrt().float().to(x0.device)

    def eps(x: Tensor, t: Tensor) -> Tensor:
        sigma = ratio[t].view(-1, 1, 1, 1)
        return model(x * (1 + sigma**2).sqrt(), sigma)

    return Run(steps(), lambda: average, model, eps, schedule, 1024)


SHIPPED = {
    "denoising-diffusion-pytorch": shipped_ddpm_pytorch,
    "diffusers": shipped_diffusers,
    "smalldiffusion": shipped_smalldiffusion,
}
