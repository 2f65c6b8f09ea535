"""Training as several processes: the same losses and weights as one, and one that writes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue import _processes, nets, runtime, schedule

ROOT = Path(__file__).parents[1]


def train(out):
    """Two networks, their losses and last weights into a file; which device, and who writes."""
    torch.set_num_threads(1)
    runtime.seed_everything(0)
    x0, text = torch.randn(40, 6), torch.randint(11, (200,))
    model = nets.MLP((6,), width=16, depth=1, T=100)
    ema = nets.EMA(model, 0.9)
    noise = nets.train(model, x0, schedule.su(100), steps=12, batch=8, lr=4e-3, ema=ema)
    curve = [loss.item() for _, loss in noise]
    speaker = nets.LanguageModel(width=8, heads=2, depth=1, context=5, vocab=11)
    said = nets.train_language(speaker, text, steps=6, batch=4)
    curve += [loss.item() for _, loss in said]
    weights = torch.nn.utils.parameters_to_vector([*ema.model.parameters(), *speaker.parameters()])
    with runtime.replacing(out) as folder:
        arrays = dict(curve=np.array(curve), weights=weights.detach().numpy())
        runtime.write_npz(folder / "end.npz", **arrays)
    return folder.parent == out


def as_torchrun(rank, port, out):
    """What a process does that torchrun started."""
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "KEXUE_DEVICE": "cpu"}
    out.with_name(f"wrote-{rank}").write_text(str(train(out)))


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """What training leaves behind as one process and as two, and who of the two has written."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not forked from here: torch cannot, once a gradient was computed.
    command = [sys.executable, __file__, str(port), str(folder / "two")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = subprocess.Popen(command, env=environment)
    threads = torch.get_num_threads()
    train(folder / "one")
    torch.set_num_threads(threads)
    assert both.wait(120) == 0
    wrote = [(folder / f"wrote-{rank}").read_text() for rank in (0, 1)]
    return np.load(folder / "one" / "end.npz"), np.load(folder / "two" / "end.npz"), wrote


def test_two_processes_train_as_one_does(ends):
    """Equal up to rounding: sums of float32 in another order, over 18 steps."""
    one, two, _ = ends
    np.testing.assert_allclose(two["curve"], one["curve"], rtol=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-4)
    assert one["curve"].std() > 1e-2, "the losses of different steps differ by far more"


def test_the_first_process_writes(ends):
    assert ends[2] == ["True", "False"]


def test_parts_make_up_the_batch(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts = []
    for rank in "012":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        parts += range(12)[_processes.part(12)]
        assert _processes.gpu() == f"cuda:{rank}"
    assert parts == list(range(12))
    with pytest.raises(ValueError, match=r"^batch: got 8 for 3 processes, needs a multiple of 3"):
        _processes.part(8)


def test_without_torchrun_nothing_is_shared(monkeypatch):
    """Also where a cluster sets the size, which alone would make a notebook wait for nobody."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    model = torch.nn.Linear(1, 1)
    _processes.join(torch.device("cpu"))
    assert not torch.distributed.is_initialized()
    assert _processes.share(model) is model and _processes.gpu() == "cuda"
    assert _processes.count() == 1 and _processes.rank() == 0
    loss = torch.tensor(3.0)
    assert _processes.mean(loss) is loss and loss == 3.0


def test_what_a_killed_run_left_goes_with_the_next(tmp_path):
    (tmp_path / "old.npz").write_text("old")
    kill = (
        "import os, sys; from pathlib import Path; from kexue import runtime\n"
        "with runtime.replacing(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half.npz').write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", kill, str(tmp_path)], env=environment)
    assert done.returncode == -9
    assert len([*tmp_path.glob(".unfinished-*/half.npz")]) == 1
    with pytest.raises(KeyboardInterrupt), runtime.replacing(tmp_path) as folder:
        (folder / "old.npz").write_text("new")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["old.npz"]
    assert (tmp_path / "old.npz").read_text() == "old"
    with runtime.replacing(tmp_path) as folder:
        (folder / "old.npz").write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_runs_into_one_folder_leave_each_other_alone(tmp_path):
    elsewhere = tmp_path / ".unfinished-another-machine-1-abc"
    elsewhere.mkdir()
    with runtime.replacing(tmp_path) as one, runtime.replacing(tmp_path) as two:
        (one / "one.npz").write_text("1")
        with runtime.replacing(tmp_path):
            pass
        (two / "two.npz").write_text("2")
    assert {path.name for path in tmp_path.iterdir()} == {"one.npz", "two.npz", elsewhere.name}


if __name__ == "__main__":  # two processes, which share the seconds of the imports
    import torch._dynamo  # the first optimizer would, in each

    child = os.fork()
    as_torchrun(0 if child else 1, sys.argv[1], Path(sys.argv[2]))
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
