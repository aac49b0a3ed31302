"""The stripes to a hundredth of a cycle per field and a hundredth of a radian, with uncertainties.

The wave vector is where the likelihood T (see `search`) has its maximum between grid points, found by Newton's
method on its transforms. Phases and gains of the frames follow by weighted least squares: each frame is a sum of
the guess of the object through the objective, and of the same in stripes, once in phase and once a quarter turn on.
"""

import math
from dataclasses import dataclass

import torch

from sim_models.optics.estimate.scene import Scene, centred
from sim_models.optics.estimate.search import LikelihoodMap

STEPS = 5
"""of Newton's method, from a start within half a cycle per field; each doubles the digits"""


@dataclass(frozen=True)
class Moments:
    """A Fourier transform at one frequency with its first and second derivatives there."""

    value: torch.Tensor
    gradient: torch.Tensor
    """(2,)"""
    hessian: torch.Tensor
    """(2, 2)"""


def moments(image: torch.Tensor, wave: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> Moments:
    """sum of image(r) exp(-2 pi i q . r) over pixels at `rows` (Y,) and `columns` (X,), with derivatives in q."""
    factors = []
    for frequency, axis in zip(wave, (rows, columns), strict=True):
        phasor = torch.exp(-2j * math.pi * frequency * axis)
        slope = -2j * math.pi * axis
        factors.append(torch.stack([phasor, slope * phasor, slope.square() * phasor]).to(torch.complex64))
    table = ((factors[0] @ image) @ factors[1].T).to(torch.complex128)
    return Moments(
        table[0, 0],
        torch.stack([table[1, 0], table[0, 1]]),
        torch.stack([torch.stack([table[2, 0], table[1, 1]]), torch.stack([table[1, 1], table[0, 2]])]),
    )


def sharpen(scene: Scene, likelihood: LikelihoodMap, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maximum of T near `wave` (2,) of the first harmonic, and minus its curvature (2, 2) there."""
    hessian = torch.eye(2, dtype=torch.float64)
    for _ in range(STEPS):
        gradient, hessian = _slopes(scene, likelihood, wave)
        values, axes = torch.linalg.eigh(-hessian)
        # Along an axis where T is not yet concave, go uphill as if it were.
        step = axes @ ((axes.T @ gradient) / values.abs().clamp(min=1e-12))
        longest = 0.5 / min(scene.shape)
        wave = wave + step * (longest / step.norm()).clamp(max=1.0)
    return wave, -hessian


def _slopes(scene: Scene, likelihood: LikelihoodMap, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient (2,) and Hessian (2, 2) of T in the wave vector of the first harmonic."""
    rows, columns = centred(scene.shape, wave.device)
    lags = [torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=wave.device) for size in scene.shape]
    gradient, hessian = torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    weights = likelihood.weights.to(torch.complex64)
    for order, (product, noise) in enumerate(zip(likelihood.products, likelihood.noise, strict=True), start=1):
        inner = moments(product, order * wave, rows, columns)
        norm = moments(weights, order * wave, *lags)
        level = noise.at((order * wave).norm()).double()
        power = inner.value.abs().square()
        slope = 2 * (inner.value.conj() * inner.gradient).real
        bend = 2 * (torch.outer(inner.gradient.conj(), inner.gradient) + inner.value.conj() * inner.hessian).real
        total, fall, curl = norm.value.real, norm.gradient.real, norm.hessian.real
        # Derivatives of the quotient power / total.
        ratio = power / total
        first = (slope - ratio * fall) / total
        second = (bend - torch.outer(first, fall) - torch.outer(fall, first) - ratio * curl) / total
        gradient += order * first / level
        hessian += order**2 * second / level
    return gradient, hessian


@dataclass(frozen=True)
class FrameFit:
    """How much of each frame is the plain object, and how much is stripes of one wave vector; any frames F."""

    gain: torch.Tensor
    """(F,)"""
    gain_sigma: torch.Tensor
    """(F,)"""
    amplitude: torch.Tensor
    """(H, F) complex, m_h exp(i (h phase + lead)) with the phase at the centre of the field"""
    amplitude_sigma: torch.Tensor
    """(H, F) standard deviation of the real and of the imaginary part"""

    def unflattened(self, shape: tuple[int, int]) -> "FrameFit":
        """The same with frames told apart as (A, P)."""
        values = (self.gain, self.gain_sigma, self.amplitude, self.amplitude_sigma)
        return FrameFit(*(value.unflatten(-1, shape) for value in values))


def fit_frames(scene: Scene, frames: torch.Tensor, guess: torch.Tensor, wave: torch.Tensor, harmonics: int) -> FrameFit:
    """Fit frames (F, Y, X) with the object and its stripes of wave vector `wave` (2,), whatever their phases."""
    plain = scene.blurred(guess.to(torch.complex64)).real
    parts = [plain]
    for order in range(1, harmonics + 1):
        striped = scene.blurred(guess * scene.carrier(order * wave))
        parts += [striped.real, -striped.imag]
    regressors = torch.stack(parts).flatten(1)
    weighted = regressors * scene.window.flatten()
    # Noise of each pixel: shot noise of the light there, and read noise.
    noise = plain.flatten().clamp(min=0) + scene.read_variance
    inverse = torch.linalg.inv((weighted @ regressors.T).double())
    covariance = inverse @ ((weighted * noise) @ weighted.T).double() @ inverse
    solution = inverse @ (weighted @ frames.flatten(1).T).double()
    gain = solution[0]
    sigma = covariance.diagonal()[:, None].sqrt() * gain.clamp(min=1e-12).rsqrt()
    amplitude = torch.complex(solution[1::2], solution[2::2]) / gain
    amplitude_sigma = torch.maximum(sigma[1::2], sigma[2::2])
    return FrameFit(gain, sigma[0] * gain, amplitude, amplitude_sigma)
