import pytest
import torch

from sim_models.field import Illumination, Microscope
from sim_models.optics.fourier import frequencies_per_um
from sim_models.optics.otf import circular_pupil_otf, extended_cutoff_per_um, pixel_transfer

CUTOFF = 5.0
ZERO = torch.zeros(1, dtype=torch.float64)


def otf_along_x(*fractions_of_cutoff: float) -> torch.Tensor:
    return circular_pupil_otf(ZERO, CUTOFF * torch.tensor(fractions_of_cutoff, dtype=torch.float64), CUTOFF)


def test_otf_is_one_at_zero_and_nothing_from_the_cutoff_on() -> None:
    assert otf_along_x(0.0).item() == 1.0
    assert otf_along_x(0.999).item() > 0
    torch.testing.assert_close(otf_along_x(1.0, 1.001, 3.0), torch.zeros(3, dtype=torch.float64))


def test_otf_at_half_the_cutoff_is_goodmans_value() -> None:
    assert otf_along_x(0.5).item() == pytest.approx(2 / 3 - 3**0.5 / (2 * torch.pi))


def test_otf_is_the_autocorrelation_of_the_pupil() -> None:
    rows, columns = frequencies_per_um((256, 256), 1 / 256)
    pupil = (torch.hypot(rows, columns) <= 60).double()
    spread = torch.fft.ifft2(pupil).abs() ** 2
    numeric = torch.fft.fft2(spread).real
    numeric = numeric / numeric[0, 0]
    torch.testing.assert_close(numeric, circular_pupil_otf(rows, columns, 120.0), atol=0.01, rtol=0)


def test_otf_is_round() -> None:
    along_x = circular_pupil_otf(ZERO, ZERO + 2.5, CUTOFF)
    slanted = circular_pupil_otf(ZERO + 1.5, ZERO + 2.0, CUTOFF)
    torch.testing.assert_close(along_x, slanted)


def test_a_pixel_does_not_see_waves_as_long_as_itself() -> None:
    assert pixel_transfer(ZERO, ZERO, 0.1).item() == 1.0
    assert pixel_transfer(ZERO, ZERO + 10.0, 0.1).item() == pytest.approx(0.0, abs=1e-12)
    assert pixel_transfer(ZERO + 5.0, ZERO, 0.1).item() == pytest.approx(2 / torch.pi)


def test_stripes_extend_the_cutoff_by_their_finest_harmonic(
    microscope: Microscope, illumination: Illumination
) -> None:
    two_beams = microscope.cutoff_per_um + (1 / 0.2 + 1 / 0.21 + 1 / 0.22) / 3
    assert extended_cutoff_per_um(microscope, illumination) == pytest.approx(two_beams)
    three_beams = illumination.model_copy(
        update={"spacing_um": (0.4, 0.42, 0.44), "modulation": ((0.5, 0.4),) * 3}
    )
    assert extended_cutoff_per_um(microscope, three_beams) == pytest.approx(two_beams)
