import pytest
import torch

from sim_models.field import Illumination, Microscope
from sim_models.optics.fourier import frequencies_per_um
from sim_models.optics.otf import Otf, circular_pupil_otf, extended_cutoff_per_um, pixel_transfer

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


def along_x(otf: Otf, *fractions_of_cutoff: float) -> torch.Tensor:
    return otf(ZERO, otf.cutoff_per_um * torch.tensor(fractions_of_cutoff, dtype=torch.float64))


def test_an_ideal_objective_has_its_pupil_and_its_pixel(microscope: Microscope) -> None:
    ideal = Otf.ideal(microscope)
    x_per_um = 0.4 * ideal.cutoff_per_um * torch.ones(1, dtype=torch.float64)
    pupil = circular_pupil_otf(ZERO, x_per_um, microscope.cutoff_per_um)
    pixel = pixel_transfer(ZERO, x_per_um, microscope.pixel_um)
    torch.testing.assert_close(along_x(ideal, 0.4), pupil * pixel)
    assert along_x(ideal, 0.0).item() == 1.0


def test_attenuation_is_what_is_left_at_the_cutoff() -> None:
    plain, soft = Otf(CUTOFF, 0.0), Otf(CUTOFF, 0.0).attenuated(0.3)
    ratio = along_x(soft, 0.0, 0.5, 0.999) / along_x(plain, 0.0, 0.5, 0.999)
    torch.testing.assert_close(ratio, 0.3 ** torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64))


def test_a_measured_profile_is_read_between_its_values() -> None:
    measured = Otf(CUTOFF, 0.0, profile=(1.0, 0.6, 0.1, 0.0))
    found = along_x(measured, 0.0, 1 / 6, 1 / 3, 1 / 2, 0.999, 1.2)
    expected = torch.tensor([1.0, 0.8, 0.6, 0.35, 0.0003, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
