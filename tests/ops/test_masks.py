import torch

from lara.ops.masks import last_valid_step, masked_mean, masked_mse, take_step


def test_masked_values_touch_neither_value_nor_gradient_even_when_not_finite():
    values = torch.tensor([[1.0, 2.0], [float("nan"), float("inf")]], requires_grad=True)
    mean = masked_mean(values, torch.tensor([[True], [False]]))
    mean.backward()
    assert mean.item() == 1.5
    assert torch.equal(values.grad, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))


def test_a_masked_difference_is_never_squared():
    a = torch.tensor([[1.0], [float("nan")], [float("inf")]], requires_grad=True)
    error = masked_mse(a, torch.tensor([[3.0], [0.0], [0.0]]), torch.tensor([[True], [False], [False]]))
    error.backward()
    assert error.item() == 4.0
    assert torch.equal(a.grad, torch.tensor([[-4.0], [0.0], [0.0]]))


def test_an_all_false_mask_is_zero_with_zero_gradient():
    values = torch.randn(4, requires_grad=True)
    mean = masked_mean(values, torch.zeros(4, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert not values.grad.any()


def test_last_valid_step_is_the_last_true_not_the_last_slot():
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    assert last_valid_step(mask).tolist() == [2, 3, 0, 0]


def test_take_step_picks_each_samples_own():
    x = torch.arange(24.0).reshape(2, 4, 3)
    assert torch.equal(take_step(x, torch.tensor([3, 1])), torch.stack([x[0, 3], x[1, 1]]))
