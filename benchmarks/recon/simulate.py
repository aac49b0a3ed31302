"""Raw stacks with known truth: the cases of this benchmark.

Shares no code with sim_models, so that what is measured and what measures cannot share a mistake.

    python simulate.py main extra lowlight bad --out FOLDER [--seeds N] [--seed-offset N]

main      512 x 512, filaments, points and weak haze: from 1000 photo-electrons down to 5, shallow stripes, uneven
          phases, stripes beyond the cutoff (TIRF), two harmonics, and no stripes at all
extra     5 angles x 5 phases, a field that is not square, bleaching, one weak angle
lowlight  256 x 256, down to 1 photo-electron, several objects per level: how often is an estimator right, or wrong
          without saying so
bad       256 x 256, what must not pass (noise, no stripes, wrong frame order, wrong pixel size), and the same stacks
          unspoilt, which must

A case is a folder:

    raw.tif    uint16 (angles * phases, H, W); frame = angle * phases + phase
    meta.json  what a runner may know
    truth.npz  what only the scores may know: k (A, 2), phase (A, P), mod (A, harmonics), object (2 H, 2 W), clean

The light of frame (a, p) at x, y pixels from the centre of pixel (0, 0), x along the columns, is the object times

    1 + sum_j mod[a, j] * cos((j + 1) * (2 pi (kx x / W + ky y / H) + phase[a, p]))

so k is in cycles per field, and (k, phase) means the same as (-k, -phase). Camera pixels are points, and sample
(2 i, 2 j) of the object lies on pixel (i, j).
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.fft
import tifffile
from numpy.typing import NDArray

Array = NDArray[np.floating]

NUMERICAL_APERTURE, EMISSION_UM, PIXEL_UM = 1.2, 0.525, 0.08
CUTOFF_PER_UM = 2 * NUMERICAL_APERTURE / EMISSION_UM
OFFSET, READ_NOISE = 100.0, 1.5
"""counts and electrons; one count is one electron"""

FIRST_ANGLE_RAD = 0.31
ANGLE_SIGMA_RAD, LENGTH_SIGMA = 0.01, 0.004
"""by how much the stripes of a real microscope miss what was asked for; the second is a fraction"""

MARGIN_PX = 24
"""raw pixels simulated around the field and cut off: light spills in from outside, and nothing wraps"""

BRIGHT_PERCENTILE = 99.9
"""of the noise-free wide-field, which a light level is the value of"""

LOWLIGHT_LEVELS = (300, 100, 30, 10, 5, 3, 2, 1)
BAD_LEVELS = (1000, 100, 20, 10)

WRONG_PIXEL = 1.4
"""factor by which a pixel size is stated wrongly"""

Spoilt = Literal["", "phase_major", "pixel_large", "pixel_small"]


@dataclass(frozen=True)
class Recipe:
    """What a stack is made of."""

    shape: tuple[int, int] = (512, 512)
    """(H, W) raw pixels"""
    angles: int = 3
    phases: int = 3
    modulation: tuple[tuple[float, ...], ...] = ((0.8,),)
    """depth of each harmonic: one row for all angles, or one for each"""
    wave_per_cutoff: float = 0.88
    """length of the finest harmonic's wave vector"""
    photons: float = 1000.0
    """electrons in a bright pixel of the wide-field, see `BRIGHT_PERCENTILE`"""
    phase_sigma_rad: float = 0.0
    """deviation of each phase from even steps"""
    bleaching: float = 0.0
    """share of the light lost from one frame to the next"""
    stripe_seed: int = 1
    object_seed: int = 7


@dataclass(frozen=True)
class Case:
    """A stack, and what was done to it before a runner sees it."""

    recipe: Recipe
    spoilt: Spoilt = ""


@dataclass(frozen=True)
class Stripes:
    """The light of all frames, in the words of the truth."""

    wave: Array
    """(A, 2) (kx, ky) of the first harmonic, cycles per field"""
    phase_rad: Array
    """(A, P)"""
    modulation: Array
    """(A, harmonics)"""

    def at(self, angle: int, phase: int, x: Array, y: Array) -> Array:
        """Relative intensity at places x, y in fields, counted from pixel (0, 0)."""
        turn = 2 * np.pi * (self.wave[angle, 0] * x + self.wave[angle, 1] * y) + self.phase_rad[angle, phase]
        depths = enumerate(self.modulation[angle], start=1)
        return 1 + sum(depth * np.cos(harmonic * turn) for harmonic, depth in depths)


def ideal_otf(frequency_per_cutoff: Array) -> Array:
    """Incoherent OTF of a circular pupil without aberrations."""
    v = np.clip(np.abs(frequency_per_cutoff), 0, 1)
    return 2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v * v))


def _frequencies(shape: tuple[int, int], spacing: float = 1.0) -> Array:
    """|frequency| on the grid of `rfft2`."""
    rows, columns = np.fft.fftfreq(shape[0], spacing), np.fft.rfftfreq(shape[1], spacing)
    return np.hypot(rows[:, None], columns)


def _filtered(image: Array, transfer: Array) -> Array:
    spectrum = scipy.fft.rfft2(image, workers=2) * transfer
    filtered: Array = scipy.fft.irfft2(spectrum, s=image.shape, workers=2)
    return filtered


def blur(image: Array) -> Array:
    """What the objective leaves of light on a grid twice as fine as the raw pixels."""
    return _filtered(
        image, ideal_otf(_frequencies(image.shape, PIXEL_UM / 2) / CUTOFF_PER_UM).astype(np.float32)
    )


def draw_object(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """Light of a thin specimen: curved filaments, points, and weak smooth haze."""
    edge = float(np.sqrt(shape[0] * shape[1]))
    light = np.zeros(shape, np.float32)
    area = (edge / 1152) ** 2
    for _ in range(int(70 * area) + 4):
        _add_filament(light, edge, random)
    num_points = int(260 * area) + 10
    places = random.integers(0, shape[0], num_points), random.integers(0, shape[1], num_points)
    np.add.at(light, places, random.uniform(2, 10, num_points))
    frequency = _frequencies(shape)
    soft = _filtered(light, _gaussian(frequency, 0.6))
    cloud = _filtered(random.random(shape).astype(np.float32), _gaussian(frequency, edge / 14))
    cloud = (cloud - cloud.min()) / np.ptp(cloud)
    return (np.maximum(soft, 0) + 0.012 * soft.max() * cloud).astype(np.float32)


def _add_filament(light: Array, edge: float, random: np.random.Generator) -> None:
    """A path of half-pixel steps that turns a little at each; every step leaves its light on the four pixels around."""
    rows, columns = light.shape
    num_steps = int(random.uniform(0.4, 1.6) * edge) * 2
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.018, num_steps))
    x = random.uniform(0, columns) + np.cumsum(0.5 * np.cos(heading))
    y = random.uniform(0, rows) + np.cumsum(0.5 * np.sin(heading))
    brightness = random.uniform(0.5, 1.0)
    inside = (x > 0) & (x < columns - 2) & (y > 0) & (y < rows - 2)
    x, y = x[inside], y[inside]
    column, row = x.astype(int), y.astype(int)
    right, down = x - column, y - row
    corners = (
        (0, 0, (1 - down) * (1 - right)), (0, 1, (1 - down) * right), (1, 0, down * (1 - right)), (1, 1, down * right),
    )  # fmt: skip
    for below, beside, share in corners:
        np.add.at(light, (row + below, column + beside), brightness * share)


def _gaussian(frequency: Array, sigma: float) -> Array:
    return np.exp(-2 * np.pi**2 * frequency**2 * sigma**2)


def draw_stripes(recipe: Recipe) -> Stripes:
    """Stripes in evenly spread directions, each a little off."""
    random = np.random.default_rng(recipe.stripe_seed)
    rows = recipe.modulation if len(recipe.modulation) == recipe.angles else recipe.modulation * recipe.angles
    wave, phase = [], []
    for angle in range(recipe.angles):
        direction = FIRST_ANGLE_RAD + angle * np.pi / recipe.angles + random.normal(0, ANGLE_SIGMA_RAD)
        finest = recipe.wave_per_cutoff * (1 + random.normal(0, LENGTH_SIGMA)) * CUTOFF_PER_UM * PIXEL_UM
        first = finest / len(rows[angle])
        height, width = recipe.shape
        wave.append((first * np.cos(direction) * width, first * np.sin(direction) * height))
        start = random.uniform(-np.pi, np.pi)
        steps = 2 * np.pi * np.arange(recipe.phases) / recipe.phases
        phase.append(start + steps + recipe.phase_sigma_rad * random.normal(0, 1, recipe.phases))
    return Stripes(np.array(wave), np.array(phase), np.array(rows))


def expose(light: Array, stripes: Stripes, shape: tuple[int, int], bleaching: float = 0.0) -> Array:
    """Noise-free frames (A * P, H, W) of light on the fine grid, which is larger than 2 x `shape` by the margins."""
    fine_y, fine_x = (np.arange(edge) / 2 - MARGIN_PX for edge in light.shape)
    y, x = fine_y[:, None] / shape[0], fine_x[None] / shape[1]
    frames: list[Array] = []
    for angle, phases in enumerate(stripes.phase_rad):
        for phase in range(len(phases)):
            seen = blur(light * stripes.at(angle, phase, x, y).astype(np.float32))[::2, ::2]
            frames.append(_cropped(seen, MARGIN_PX) * np.float32((1 - bleaching) ** len(frames)))
    return np.maximum(np.array(frames), 0)


def _cropped(image: Array, margin: int) -> Array:
    return image[margin:-margin, margin:-margin]


@dataclass(frozen=True)
class Acquired:
    """A stack and its truth."""

    raw: NDArray[np.uint16]
    stripes: Stripes
    light: Array
    """(2 H, 2 W)"""
    clean: Array
    """(A * P, H, W)"""


@lru_cache(maxsize=1)  # the spoilt cases of a recipe follow each other
def acquire(recipe: Recipe) -> Acquired:
    """Simulate a stack."""
    padded = tuple(2 * (edge + 2 * MARGIN_PX) for edge in recipe.shape)
    light = draw_object((padded[0], padded[1]), np.random.default_rng(recipe.object_seed))
    widefield = _cropped(blur(light)[::2, ::2], MARGIN_PX)
    light *= recipe.photons / np.percentile(widefield, BRIGHT_PERCENTILE)
    stripes = draw_stripes(recipe)
    clean = expose(light, stripes, recipe.shape, recipe.bleaching)
    random = np.random.default_rng(recipe.stripe_seed + 1000)
    counts = random.poisson(clean) + random.normal(OFFSET, READ_NOISE, clean.shape)
    raw = np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
    return Acquired(raw, stripes, _cropped(light, 2 * MARGIN_PX), clean.astype(np.float32))


def _meta(case: Case) -> dict[str, Any]:
    recipe = case.recipe
    factor = {"pixel_large": WRONG_PIXEL, "pixel_small": 1 / WRONG_PIXEL}.get(case.spoilt, 1.0)
    pixel_um, width = PIXEL_UM * factor, recipe.shape[1]
    return {
        "pixel_um": pixel_um, "na": NUMERICAL_APERTURE, "em_um": EMISSION_UM,
        "n_angles": recipe.angles, "n_phases": recipe.phases, "n_orders": len(recipe.modulation[0]),
        "offset": OFFSET, "gain": 1.0, "read_noise": READ_NOISE, "otf": "ideal",
        "size": width, "fc_px": CUTOFF_PER_UM * pixel_um * width, "tirf": recipe.wave_per_cutoff > 1,
    }  # fmt: skip


def write_case(case: Case, folder: Path) -> None:
    """Write a case; it appears whole or not at all."""
    acquired, recipe = acquire(case.recipe), case.recipe
    raw = acquired.raw
    if case.spoilt == "phase_major":
        stack = raw.reshape(recipe.angles, recipe.phases, *recipe.shape)
        raw = stack.swapaxes(0, 1).reshape(raw.shape)
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    tifffile.imwrite(unfinished / "raw.tif", raw)
    (unfinished / "meta.json").write_text(json.dumps(_meta(case), indent=1))
    stripes = acquired.stripes
    np.savez_compressed(
        unfinished / "truth.npz",
        k=stripes.wave, phase=stripes.phase_rad, mod=stripes.modulation,
        object=acquired.light, clean=acquired.clean, made_by=_digest(case),
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _digest(case: Case) -> str:
    """Of everything that decides a case, this file included."""
    told = json.dumps(asdict(case)) + Path(__file__).read_text()
    return hashlib.sha256(told.encode()).hexdigest()


def is_written(case: Case, folder: Path) -> bool:
    """Whether a folder holds just this case."""
    if not (folder / "truth.npz").exists():
        return False
    with np.load(folder / "truth.npz") as truth:
        return str(truth.get("made_by")) == _digest(case)


def main_cases(offset: int) -> dict[str, Case]:
    """One stack for each difficulty."""
    two_harmonics = Recipe(phases=5, modulation=((0.5, 0.8),))
    recipes = {
        "c9_p1000": Recipe(),
        "c9_p100": Recipe(photons=100),
        "c9_p20": Recipe(photons=20),
        "c9_p5": Recipe(photons=5),
        "c9_p100_m03": Recipe(photons=100, modulation=((0.3,),)),
        "c9_p1000_phase": Recipe(phase_sigma_rad=0.25),
        "tirf9_p1000": Recipe(wave_per_cutoff=1.1),
        "tirf9_p100": Recipe(photons=100, wave_per_cutoff=1.1),
        "c15_p1000": two_harmonics,
        "c15_p20": replace(two_harmonics, photons=20),
        "flat9_p1000": Recipe(modulation=((0.0,),)),
    }
    return _named(recipes, offset)


def extra_cases(offset: int) -> dict[str, Case]:
    """Acquisitions that go beyond 3 x 3 or 3 x 5 square frames of even light."""
    recipes = {
        "c25_p1000": Recipe(angles=5, phases=5, modulation=((0.5, 0.8),)),
        "c9_p1000_384x640": Recipe(shape=(384, 640)),
        "c9_p1000_bleach": Recipe(bleaching=0.03),
        "c9_p1000_weak": Recipe(modulation=((0.15,), (0.8,), (0.8,))),
    }
    return _named(recipes, offset)


def _named(recipes: dict[str, Recipe], offset: int) -> dict[str, Case]:
    return {name: Case(_moved(recipe, offset)) for name, recipe in recipes.items()}


def _moved(recipe: Recipe, seed: int) -> Recipe:
    return replace(recipe, stripe_seed=recipe.stripe_seed + seed, object_seed=recipe.object_seed + seed)


def lowlight_cases(seeds: int, offset: int) -> dict[str, Case]:
    """Every level with every seed, and without stripes at 100 electrons."""
    small = Recipe(shape=(256, 256), modulation=((0.5,),), stripe_seed=100, object_seed=200)
    levels = {f"ll_p{level:04d}": replace(small, photons=level) for level in LOWLIGHT_LEVELS}
    levels["ll_flat"] = replace(small, photons=100, modulation=((0.0,),))
    return {
        f"{name}_s{seed}": Case(_moved(recipe, offset + seed))
        for name, recipe in levels.items()
        for seed in range(seeds)
    }


def bad_cases(seeds: int, offset: int) -> dict[str, Case]:
    """Noise alone, no stripes, and stacks spoilt in three ways and in none."""
    small = Recipe(shape=(256, 256), modulation=((0.5,),), stripe_seed=50, object_seed=60)
    spoils: tuple[Spoilt, ...] = ("", "phase_major", "pixel_large", "pixel_small")
    cases = {}
    for seed in range(seeds):
        recipe = _moved(small, offset + seed)
        cases[f"noise_s{seed}"] = Case(replace(recipe, photons=0))
        for level in BAD_LEVELS:
            tag = f"p{level:04d}_s{seed}"
            cases[f"flat_{tag}"] = Case(replace(recipe, photons=level, modulation=((0.0,),)))
            for spoilt in spoils:
                cases[f"{spoilt or 'unspoilt'}_{tag}"] = Case(replace(recipe, photons=level), spoilt)
    return cases


FIXED = {"main": main_cases, "extra": extra_cases}
SEEDED = {"lowlight": lowlight_cases, "bad": bad_cases}


def write_missing(name: str, out: Path, seeds: int, offset: int) -> list[Path]:
    """The folders OUT/SET/CASE of a set, of which those that are there already stay."""
    cases = FIXED[name](offset) if name in FIXED else SEEDED[name](seeds, offset)
    folders = []
    for case_name, case in cases.items():
        folder = out / name / case_name
        if not is_written(case, folder):
            write_case(case, folder)
        folders.append(folder)
    return folders


def main() -> None:
    """Write sets of cases."""
    parser = argparse.ArgumentParser(description="Write raw stacks with known truth.")
    parser.add_argument("sets", nargs="+", choices=[*FIXED, *SEEDED])
    parser.add_argument("--out", type=Path, required=True, help="OUT/<set>/<case>/ is written")
    parser.add_argument("--seeds", type=int, default=3, help="stacks per kind in the sets lowlight and bad")
    parser.add_argument("--seed-offset", type=int, default=0, help="other objects, stripes and noise")
    chosen = parser.parse_args()
    for name in chosen.sets:
        folders = write_missing(name, chosen.out, chosen.seeds, chosen.seed_offset)
        print(f"{name}: {len(folders)} cases in {chosen.out / name}")


if __name__ == "__main__":
    main()
