"""The loop: against a plain loop written here, killed and resumed, and its errors."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from reidlib.training import TrainingError, epochs, stream, stream_seed, train


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Dropout(0.5),
        torch.nn.Linear(16, 2),
    )  # fmt: skip


def batches(start):
    def draw(epoch):
        return torch.randn(5, 8, 1, 4, 4, generator=stream(0, "data", epoch))

    return epochs(draw, start)


def loss(model, batch, step):
    out = model(batch)
    return out.square().mean(), {"largest": out.abs().max()}


def run(steps, **options):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5)
    options = {"seed": 3, "scheduler": scheduler, "progress": False} | options
    history = train(model, batches, loss, optimizer, steps=steps, **options)
    return model, history


def test_equals_a_plain_loop():
    model, history = run(12)
    plain = network()
    optimizer = torch.optim.Adam(plain.parameters(), 1e-2)
    expected = []
    source = [b for epoch in range(3) for b in torch.randn(5, 8, 1, 4, 4, generator=stream(0, "data", epoch))]
    for step in range(12):
        torch.manual_seed(stream_seed(3, "step", step))
        value = plain(source[step]).square().mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step == 6:
            optimizer.param_groups[0]["lr"] *= 0.5
        expected.append(value.item())
    assert history["loss"] == pytest.approx(expected, rel=1e-6)
    for ours, theirs in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(history["largest"]) == 12


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    whole, expected = run(20, watch=lambda m, s: {"s": s * 2}, watch_at=(5, 15))

    def fail_at(step_to_fail):
        def failing(model, batch, step):
            if step == step_to_fail:
                raise KeyboardInterrupt
            return loss(model, batch, step)

        return failing

    for stop in (9, 17):  # two interruptions, the second after a first resume
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5)
        with pytest.raises(KeyboardInterrupt):
            train(
                model, batches, fail_at(stop), optimizer, steps=20, seed=3, scheduler=scheduler, progress=False,
                watch=lambda m, s: {"s": s * 2}, watch_at=(5, 15), checkpoint=tmp_path / "c", checkpoint_every=4,
            )  # fmt: skip
    model, history = run(
        20, watch=lambda m, s: {"s": s * 2}, watch_at=(5, 15), checkpoint=tmp_path / "c", checkpoint_every=4
    )
    assert history == expected
    for ours, theirs in zip(model.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert {f.suffix for f in (tmp_path / "c").iterdir()} == {".json", ".state", ".weights"}
    assert len(list((tmp_path / "c").iterdir())) == 3


KILLED = """
    import sys, time, torch
    sys.path.insert(0, {here!r})
    import test_training as t
    def slow(model, batch, step):
        time.sleep(0.02)
        return t.loss(model, batch, step)
    model = t.network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5)
    t.train(model, t.batches, slow, optimizer, steps=400, seed=3, scheduler=scheduler, progress=False,
            checkpoint={folder!r}, checkpoint_every=3)
"""


def test_kill_minus_nine_at_any_moment_leaves_a_usable_checkpoint(tmp_path):
    whole, expected = run(150)
    folder = tmp_path / "c"
    code = textwrap.dedent(KILLED.format(here=os.path.dirname(__file__), folder=str(folder)))
    for wait in (0.05, 0.13, 0.21):
        child = subprocess.Popen([sys.executable, "-c", code])
        before = (folder / "latest.json").read_text() if (folder / "latest.json").exists() else ""
        deadline = time.monotonic() + 60
        while not (folder / "latest.json").exists() or (folder / "latest.json").read_text() == before:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
    model, history = run(150, checkpoint=folder, checkpoint_every=3)
    assert history["loss"] == expected["loss"]
    for ours, theirs in zip(model.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_same_seed_same_numbers_other_seed_other_numbers():
    assert run(6)[1] == run(6)[1]
    assert run(6)[1] != run(6, seed=4)[1]


def test_watch_sees_eval_mode_and_training_goes_on_in_train_mode():
    seen = []
    model, history = run(4, watch=lambda m, s: seen.append(m.training) or {"a": s}, watch_at=(2,))
    assert seen == [False]
    assert model.training
    assert history["watch/step"] == [2]
    assert history["watch/a"] == [2.0]


def test_after_step_follows_every_optimiser_step():
    """Once a step, when the weights have moved and before the watch looks."""
    model, taken, seen = network(), [], []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    weights = [model[0].weight.detach().clone()]

    def noted(model, batch, step):
        taken.append(step)
        return loss(model, batch, step)

    def after_step():
        seen.append(("step", len(taken)))
        weights.append(model[0].weight.detach().clone())

    train(
        model, batches, noted, optimizer, steps=4, seed=3, progress=False, after_step=after_step,
        watch=lambda m, s: seen.append(("watch", s)) or {}, watch_at=(2,),
    )  # fmt: skip
    assert seen == [("step", 1), ("step", 2), ("watch", 2), ("step", 3), ("step", 4)]
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(weights))
    assert torch.equal(weights[-1], model[0].weight)


def test_after_step_is_not_repeated_for_steps_of_a_checkpoint(tmp_path):
    calls = []
    run(4, checkpoint=tmp_path / "c", checkpoint_every=4, after_step=lambda: calls.append("first"))
    run(7, checkpoint=tmp_path / "c", checkpoint_every=4, after_step=lambda: calls.append("second"))
    assert calls == ["first"] * 4 + ["second"] * 3


def test_streams_differ_by_name_and_agree_by_arguments():
    draw = [torch.rand(3, generator=stream(1, name)).tolist() for name in ("a", "b", "a")]
    assert draw[0] == draw[2] != draw[1]
    assert 0 <= stream_seed(1, "x") < 2**63


def test_epochs_skip_like_a_full_walk():
    full = [next(iter_) for iter_ in [epochs(lambda e: [(e, i) for i in range(e + 1)])] for _ in range(10)]
    assert full[:4] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert next(epochs(lambda e: [(e, i) for i in range(e + 1)], 4)) == full[4]


def test_errors():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with pytest.raises(TrainingError, match=r"not finite at step 0 .*lower the learning rate"):
        train(
            model, batches, lambda m, b, s: (m(b).sum() * float("nan"), {}), optimizer, steps=1, seed=0, progress=False
        )
    with pytest.raises(TrainingError, match="ran out at step 2 of 5"):
        train(model, lambda start: [torch.zeros(2, 1, 4, 4)] * 2, loss, optimizer, steps=5, seed=0, progress=False)
    with pytest.raises(TrainingError, match="'half' is unknown"):
        train(model, batches, loss, optimizer, steps=1, seed=0, precision="half")
    with pytest.raises(TrainingError, match="epoch 0 has no batch"):
        next(epochs(lambda e: []))
