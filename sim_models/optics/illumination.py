"""The stripes: their intensity on any grid, and how an acquisition's nominal stripes really turn out."""

import math

import torch

from sim_models.field import Illumination


def pixel_centres_um(num: int, pixel_um: float, oversampling: int = 1, first_px: int = 0) -> torch.Tensor:
    """Centres (num,) of pixels of edge `pixel_um / oversampling` along one axis, in um.

    Zero is the centre of raw pixel 0. The grid starts at the outer edge of raw pixel `first_px`
    (negative for a margin), so a fine grid's first centre lies before that raw pixel's centre.
    """
    index = torch.arange(num, dtype=torch.float64)
    return ((index + 0.5) / oversampling - 0.5 + first_px) * pixel_um


def wave_vectors_per_um(illumination: Illumination) -> torch.Tensor:
    """(A, 2) wave vectors of the first harmonic as (k_y, k_x) in cycles per um."""
    angle = torch.tensor(illumination.angle_rad, dtype=torch.float64)
    spacing = torch.tensor(illumination.spacing_um, dtype=torch.float64)
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=1) / spacing[:, None]


def patterns(illumination: Illumination, y_um: torch.Tensor, x_um: torch.Tensor) -> torch.Tensor:
    """Relative intensity (A, P, Y, X) of the stripes at points y (Y,) and x (X,); its mean is the brightness.

    The formula and its origin are those of `Illumination`: two beams give one harmonic, three beams
    two. For points on a pixel grid see `pixel_centres_um`.
    """
    phase = torch.tensor(illumination.phase_rad, dtype=torch.float64).to(y_um)[:, :, None, None]
    modulation = torch.tensor(illumination.modulation, dtype=torch.float64).to(y_um)
    k_y, k_x = wave_vectors_per_um(illumination).to(y_um).T
    path = k_y[:, None, None] * y_um[:, None] + k_x[:, None, None] * x_um
    argument = 2 * math.pi * path[:, None] + phase
    lead = torch.tensor(illumination.lead_rad or torch.zeros_like(modulation).tolist()).to(y_um)
    intensity = torch.ones_like(argument)
    harmonics = zip(modulation.T[:, :, None, None, None], lead.T[:, :, None, None, None], strict=True)
    for order, (depth, ahead) in enumerate(harmonics, start=1):
        intensity += depth * torch.cos(order * argument + ahead)
    if illumination.brightness is not None:
        intensity *= torch.tensor(illumination.brightness).to(y_um)[:, :, None, None]
    return intensity


def deepest_shadow(modulation: tuple[float, ...]) -> float:
    """How far the darkest line of stripes with these depths (H,) lies below the mean: 1 is black."""
    angle = torch.linspace(0, math.pi, 721, dtype=torch.float64)
    waves = [depth * torch.cos(order * angle) for order, depth in enumerate(modulation, start=1)]
    return -float(torch.stack(waves).sum(dim=0).min())


def nominal(
    angles: int, phases: int, spacing_um: float, modulation: tuple[float, ...], first_angle_rad: float
) -> Illumination:
    """Evenly spread angles over half a turn and evenly spread phases over a whole one."""
    return Illumination(
        angle_rad=tuple(first_angle_rad + math.pi * angle / angles for angle in range(angles)),
        spacing_um=(spacing_um,) * angles,
        phase_rad=(tuple(2 * math.pi * phase / phases for phase in range(phases)),) * angles,
        modulation=(modulation,) * angles,
    )


def with_errors(
    illumination: Illumination,
    angle_error_rad: float,
    phase_error_rad: float,
    modulation_error: float,
    generator: torch.Generator,
) -> Illumination:
    """The same stripes with independent normal errors, as an instrument of finite precision makes them.

    Errors are standard deviations: of each angle and of each phase in rad, of each angle's modulation
    (all its harmonics alike) as a fraction. Stripes never become darker than black.
    """
    num_angles, num_phases = len(illumination.phase_rad), len(illumination.phase_rad[0])
    angle = torch.tensor(illumination.angle_rad, dtype=torch.float64)
    angle += angle_error_rad * torch.randn(num_angles, generator=generator)
    phase = torch.tensor(illumination.phase_rad, dtype=torch.float64)
    phase += phase_error_rad * torch.randn(num_angles, num_phases, generator=generator)
    depth = (1 + modulation_error * torch.randn(num_angles, generator=generator)).clamp(min=0)
    return Illumination(
        angle_rad=tuple(angle.tolist()),
        spacing_um=illumination.spacing_um,
        phase_rad=tuple(map(tuple, phase.tolist())),
        modulation=tuple(
            _at_most_black(tuple(factor * nominal_depth for nominal_depth in depths))
            for factor, depths in zip(depth.tolist(), illumination.modulation, strict=True)
        ),
    )


def _at_most_black(modulation: tuple[float, ...]) -> tuple[float, ...]:
    excess = max(deepest_shadow(modulation), 1.0)
    return tuple(depth / excess for depth in modulation)
