"""Training ends with its budget, goes on where it was, and gives back the average of the weights."""

import pytest

from nodes.training.loop import Budget, fit

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

STEPS = 10


class Line(torch.nn.Module):
    """y = w x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.w.weight)

    def forward(self, x):
        return self.w(x)


def trained(tmp_path, *, budget, seen, loss_of=None):
    def batches(epoch):
        for i in range(STEPS):
            seen.append((epoch, i))
            yield torch.full((4, 1), 1.0 + i % 3)

    told = []
    done = fit(
        Line(), batches, loss_of or (lambda model, x: (model(x) - 2 * x).square().mean()), budget=budget,
        steps_per_epoch=STEPS, checkpoint=tmp_path / "line.pt", report=lambda *words: told.append(words),
    )  # fmt: skip
    return done.network, told


def test_it_learns(tmp_path):
    model, told = trained(tmp_path, budget=Budget(epochs=60, minutes=None, batch=4, rate=0.05), seen=[])
    assert model.w.weight.item() == pytest.approx(2, abs=0.1)
    assert len(told) == 60 * STEPS
    assert told[0][0] == 0


def test_minutes_end_it(tmp_path):
    _, told = trained(tmp_path, budget=Budget(epochs=10_000_000, minutes=0.5 / 60, batch=4, rate=0.01), seen=[])
    assert 0 < len(told) < 1_000_000
    assert told[-1][0] == pytest.approx(1, abs=0.2)


def test_what_is_finished_is_not_trained_again(tmp_path):
    budget = Budget(epochs=2, minutes=None, batch=4, rate=0.05)
    first, _ = trained(tmp_path, budget=budget, seen=[])
    seen: list = []
    again, told = trained(tmp_path, budget=budget, seen=seen)
    assert (seen, told) == ([], [])
    assert torch.equal(first.w.weight, again.w.weight)


def test_it_goes_on_where_it_was(tmp_path):
    trained(tmp_path, budget=Budget(epochs=2, minutes=None, batch=4, rate=0.05), seen=[])
    seen: list = []
    trained(tmp_path, budget=Budget(epochs=3, minutes=None, batch=4, rate=0.05), seen=seen)
    assert {epoch for epoch, _ in seen} == {2}


def test_a_loss_that_is_not_finite_ends_it_with_advice(tmp_path):
    def broken(model, x):
        return model(x).sum() * float("nan")

    with pytest.raises(FloatingPointError, match="smaller rate"):
        trained(tmp_path, budget=Budget(epochs=1, minutes=None, batch=4, rate=0.05), seen=[], loss_of=broken)
