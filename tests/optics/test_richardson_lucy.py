import pytest
import torch

from sim_models.optics.fourier import filtered, frequencies_per_um
from sim_models.optics.otf import circular_pupil_otf
from sim_models.optics.richardson_lucy import richardson_lucy

SIZE = 64


@pytest.fixture
def otf() -> torch.Tensor:
    return circular_pupil_otf(*frequencies_per_um((SIZE, SIZE), 1.0), 0.3).float()


@pytest.fixture
def points(generator: torch.Generator) -> torch.Tensor:
    image = torch.zeros(SIZE, SIZE)
    place = torch.randint(0, SIZE, (2, 20), generator=generator)
    image[place[0], place[1]] = 1000.0
    return image


def test_points_are_sharpened_and_never_negative(points: torch.Tensor, otf: torch.Tensor) -> None:
    blurred = filtered(points, otf).clamp(min=0)
    found = richardson_lucy(blurred, otf, 0.0, iterations=50)
    assert float(found.min()) >= 0
    assert float((found - points).square().mean()) < 0.6 * float((blurred - points).square().mean())


def test_it_explains_the_image_the_better_the_longer_it_goes_on(
    points: torch.Tensor, otf: torch.Tensor
) -> None:
    blurred = filtered(points, otf).clamp(min=0)

    def misfit(iterations: int) -> float:
        return float(
            (filtered(richardson_lucy(blurred, otf, 0.0, iterations), otf) - blurred).square().mean()
        )

    assert misfit(1) > misfit(5) > misfit(20) > misfit(60)


def test_light_is_kept(points: torch.Tensor, otf: torch.Tensor, generator: torch.Generator) -> None:
    noisy = torch.poisson(filtered(points, otf).clamp(min=0), generator=generator)
    found = richardson_lucy(noisy, otf, 1.0, iterations=10)
    assert float(found.sum()) == pytest.approx(float(noisy.sum()), rel=0.02)


def test_negative_and_dark_images_leave_numbers(otf: torch.Tensor) -> None:
    for image in (torch.zeros(SIZE, SIZE), torch.full((SIZE, SIZE), -5.0)):
        assert torch.isfinite(richardson_lucy(image, otf, 1.0, iterations=5)).all()
