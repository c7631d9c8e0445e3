import pytest
import torch

from lara.policy.hosts.shared.images import letterbox


def test_a_square_of_the_right_size_is_only_rescaled():
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(((letterbox(image, 16) + 1) * 127.5).round().byte(), image)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (9, 17)])
@pytest.mark.parametrize("place", ["centre", "bottom_right"])
def test_a_white_image_keeps_its_proportions_and_the_rest_is_black(shape, place):
    out = letterbox(torch.full((1, 3, *shape), 255, dtype=torch.uint8), 16, place=place)[0, 0]
    white = out == 1
    assert ((out == -1) | white).all()
    rows, columns = white.any(dim=1), white.any(dim=0)
    ratio = max(shape) / 16
    assert (rows.sum().item(), columns.sum().item()) == (int(shape[0] / ratio), int(shape[1] / ratio))
    if place == "bottom_right":
        assert white[-1, -1]
    else:
        before = rows.long().argmax().item()
        after = 16 - before - rows.sum().item()
        assert after - before in (0, 1)
