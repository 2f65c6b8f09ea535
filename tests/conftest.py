"""What every test can rely on: no window system, the same random numbers, nothing left behind."""

import os
import random

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
os.environ.setdefault("KEXUE_QUIET", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# The same examples in every run, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "kexue",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kexue")


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Seed every generator before a test and restore it after; refuse a changed default dtype."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.random.default_generator.manual_seed(0)
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    assert dtype == torch.float32, f"the test left torch's default dtype at {dtype}"
