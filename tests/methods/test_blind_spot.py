"""Hidden pixels: which they are, what stands in for them, and that noise goes where nothing tells of it."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from sim_models.methods.blind_spot import Settings
from sim_models.networks import unet
from sim_models.samples import Sample

EDGE, BOX, REACH = 100, 6, 2


def method(**changes: Any) -> Settings:
    usual = {
        "name": "blind_spot", "box_px": BOX, "reach_px": REACH, "psf_sigma_px": 1.2, "gain": 10.0,
        "positivity": 1.0, "total_variation": 0.0, "faithful_border": False,
    }  # fmt: skip
    return Settings.model_validate(usual | changes)


def numbered(chances: list[int], edge: int = EDGE) -> Sample:
    """Images whose pixels hold their own number."""
    image = torch.arange(float(edge * edge)).reshape(1, 1, edge, edge).expand(len(chances), -1, -1, -1)
    return Sample(image, image, torch.tensor(chances))


def places(chosen: Settings, chances: range) -> tuple[Tensor, Tensor]:
    """(N, 2) rows and columns of hidden pixels, and of those that stand in for them."""
    sample = numbered(list(chances))
    hidden, mask = chosen.hide(sample)
    assert torch.equal(hidden[~mask], sample.input[~mask])
    numbers = sample.input[mask].long(), hidden[mask].long()
    own, other = (torch.stack([each // EDGE, each % EDGE], dim=1) for each in numbers)
    return own, other


def test_one_pixel_of_every_box_is_hidden() -> None:
    _, mask = method().hide(numbered(list(range(200))))
    boxes = nn.functional.avg_pool2d(mask[..., :96, :96].float(), BOX) * BOX**2
    assert torch.equal(boxes.round(), torch.ones_like(boxes))
    # Boxes that a border cuts off have less of a chance: on average one pixel in 36 everywhere.
    share = mask.float().mean()
    assert share == pytest.approx(1 / BOX**2, rel=0.01)
    assert mask[..., 96:].float().mean() == pytest.approx(1 / BOX**2, rel=0.1)


def test_every_place_in_a_box_is_as_likely() -> None:
    own, _ = places(method(), range(300))
    inner = own[(own < 96).all(dim=1)] % BOX
    counts = torch.bincount(BOX * inner[:, 0] + inner[:, 1], minlength=BOX**2).double()
    expected = counts.mean()
    assert ((counts - expected).abs() < 5 * expected.sqrt()).all()


def test_a_hidden_pixel_is_told_from_another_one_near_it() -> None:
    own, other = places(method(), range(60))
    away = other - own
    assert away.abs().max() == REACH
    assert (away != 0).any(dim=1).all()
    # All of the 24 neighbours stand in, equally often where there are so many.
    inner = ((own >= REACH) & (own < EDGE - REACH)).all(dim=1)
    counts = torch.bincount(5 * (away[inner, 0] + 2) + away[inner, 1] + 2, minlength=25).double()
    assert counts[12] == 0
    expected = counts.sum() / 24
    assert ((counts[[*range(12), *range(13, 25)]] - expected).abs() < 5 * expected.sqrt()).all()


def test_borders_are_not_passed_over() -> None:
    """Pixels of the last row and column stand in as others do, and none is told from itself."""
    own, other = places(method(), range(60))
    for border in (0, EDGE - 1):
        assert (other == border).any()
        assert (own == border).any()
    assert other.min() == 0
    assert other.max() == EDGE - 1


def test_borders_as_published() -> None:
    """The last row and column never stand in; at the first ones a pixel may be told from itself."""
    own, other = places(method(faithful_border=True), range(60))
    assert other.max() == EDGE - 2
    assert (other - own).abs().max() <= REACH
    itself = (other == own).all(dim=1)
    assert itself.any()
    assert ((own[itself] < REACH).any(dim=1) | (own[itself] > EDGE - 1 - REACH).any(dim=1)).all()


def test_hidden_pixels_depend_on_chance_alone() -> None:
    chosen = method()
    _, mask = chosen.hide(numbered([5, 6, 5]))
    assert torch.equal(mask[0], mask[2])
    assert not torch.equal(mask[0], mask[1])
    sample = numbered([6])
    hidden, alone = chosen.hide(sample._replace(input=-sample.input))
    assert torch.equal(alone[0], mask[1])
    assert torch.equal(hidden, -chosen.hide(sample)[0])


def test_a_network_never_sees_the_pixel_it_tells() -> None:
    """Slopes of the loss in the hidden pixels themselves come from their part as the truth alone."""
    chosen = method()
    sample = numbered([3], 24)
    image = (sample.input / 576).requires_grad_()
    hidden, mask = chosen.hide(sample._replace(input=image))
    (slope,) = torch.autograd.grad(hidden.square().sum(), image)
    assert not slope[mask & (slope == 0)].any()
    seen = torch.zeros(576, dtype=torch.bool)
    seen[chosen.hide(sample)[0].long().flatten()] = True
    assert torch.equal(slope.flatten() != 0, seen & (image.flatten() != 0))


class Same(nn.Module):
    """Gives a tenth of what it is given: with a gain of ten, the image itself."""

    def forward(self, images: Tensor) -> Tensor:
        return images / 10


def test_the_denoised_image_is_the_deconvolved_one_blurred() -> None:
    chosen = method(psf_sigma_px=1.3)
    images = torch.rand(2, 1, 40, 30)
    denoised, sharp = chosen.restore(Same(), images).unbind(1)
    torch.testing.assert_close(sharp, images[:, 0])
    for image, expected in zip(denoised, images[:, 0], strict=True):
        blurred = ndimage.gaussian_filter(expected.numpy(), 1.3, mode="mirror", radius=6)
        np.testing.assert_allclose(image.numpy(), blurred, atol=1e-5)
    assert chosen.gives == ("denoised", "deconvolved")


def test_a_blur_keeps_light() -> None:
    flat = torch.full((1, 1, 20, 20), 3.0)
    torch.testing.assert_close(method().blurred(flat), flat)
    point = torch.zeros(1, 1, 31, 31)
    point[0, 0, 15, 15] = 7
    assert method().blurred(point).sum() == pytest.approx(7, rel=1e-5)


def test_what_is_below_zero_costs() -> None:
    images = torch.full((1, 1, 24, 24), -2.0)
    sample = Sample(images, images, torch.tensor([1]))
    assert method(positivity=0.5).loss(Same(), sample)["positivity"] == pytest.approx(0.5 * 2)
    assert "positivity" not in method(positivity=0.0).loss(Same(), sample)
    bright = sample._replace(input=images.abs())
    assert method().loss(Same(), bright)["positivity"] == 0


def test_what_is_uneven_costs() -> None:
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    images = (3 * rows + 4 * columns)[None, None]
    sample = Sample(images, images, torch.tensor([1]))
    # One pixel is hidden, which the mean over all hardly feels.
    found = method(total_variation=0.1, box_px=20).loss(Same(), sample)["total_variation"]
    assert found == pytest.approx(0.1 * 5, rel=0.02)
    assert "total_variation" not in method().loss(Same(), sample)


def test_loss_and_score_are_the_same_again() -> None:
    chosen, network = method(), Same()
    images = torch.rand(2, 1, 24, 24)
    first = Sample(images, images, torch.tensor([1, 2]))
    other = first._replace(chance=torch.tensor([1, 3]))
    assert chosen.loss(network, first) == chosen.loss(network, first)
    assert chosen.loss(network, first) != chosen.loss(network, other)
    assert chosen.score(network, first) == chosen.score(network, first)
    error = chosen.loss(network, first)["hidden_mse"]
    span = images.max() - images.min()
    assert chosen.score(network, first) == pytest.approx(float(10 * torch.log10(span**2 / error)), rel=1e-5)


def psnr(image: Tensor, truth: Tensor) -> float:
    return float(10 * torch.log10((truth.max() - truth.min()) ** 2 / (image - truth).square().mean()))


def test_noise_goes_without_a_clean_image() -> None:
    """Points seen through a Gaussian of which the method is told, with independent noise in every pixel."""
    random = np.random.default_rng(0)
    points = (random.random((8, 48, 48)) < 0.02) * random.uniform(20, 60, (8, 48, 48))
    clean = torch.tensor(np.stack([ndimage.gaussian_filter(each, 1.2) for each in points]))[:, None].float()
    noise = torch.tensor(random.normal(0, 1.5, clean.shape)).float()
    noisy = clean + noise
    unit = noisy.std()
    torch.manual_seed(0)
    settings = unet.Settings(
        name="unet", width=8, depth=2, batch_norm="none", up="transposed", skip="add", output="linear",
        enlarge="after", init="torch",
    )  # fmt: skip
    chosen, network = method(), settings.build(1, 1, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(250):
        images = noisy[[step % 8, (step + 3) % 8]] / unit
        terms = chosen.loss(network, Sample(images, images, torch.tensor([2 * step, 2 * step + 1])))
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    with torch.inference_mode():
        denoised = unit * chosen.restore(network.eval(), noisy / unit)[:, :1]
    assert psnr(denoised, clean) > psnr(noisy, clean) + 3
