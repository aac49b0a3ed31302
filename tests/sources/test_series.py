"""Series against what is known of them: motion, slices, blinking, noise, and what `prepare` adds."""

import copy
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from sim_models.config import BadInput, choice_of, parse
from sim_models.field import Field, Role
from sim_models.optics.camera import photons
from sim_models.optics.forward import widefield
from sim_models.sources import series
from sim_models.sources.checks import check
from sim_models.sources.objects import ObjectSettings
from sim_models.sources.series import SeriesSettings, blinking, lapse
from sim_models.sources.simulation import Acquisition

ACQUISITION: dict[str, Any] = {
    "microscope": {
        "numerical_aperture": 1.4,
        "refractive_index": 1.518,
        "emission_um": 0.525,
        "pixel_um": 0.065,
        "camera": {"gain": 2.0, "offset": 100.0, "read_noise": 1.5},
    },
    "angles": 3,
    "phases": 3,
    "spacing_um": 0.2,
    "modulation": [0.8],
    "first_angle_rad": 0.2,
    "angle_error_rad": 0.0,
    "phase_error_rad": 0.0,
    "modulation_error": 0.0,
    "field_px": 32,
    "scale": 2,
    "oversampling": 4,
    "levels": {"low": 20.0, "high": 200.0},
}
SRRF = {
    "magnification": 4, "ring_radius_px": 0.5, "axes": 6, "weighted": True, "temporal": "trac", "order": 2
}  # fmt: skip
VALUES: dict[str, dict[str, Any]] = {
    "lapse": {"times": 3, "slices": 5, "slice_um": 0.1, "axial_um": 0.25, "speed_um": 0.05},
    "blinking": {
        "frames": 40, "kept": 5, "labels_per_um2": 40.0, "on_share": 0.2, "on_frames": 2.0, "srrf": SRRF
    },
}  # fmt: skip
TAKEN: dict[str, Literal["volume", "blinking"]] = {"lapse": "volume", "blinking": "blinking"}


class Drawn(ObjectSettings):
    """Points scattered anew for every cell and seed, a flat field, or nothing."""

    name: Literal["drawn"] = "drawn"
    picture: Literal["points", "flat", "empty", "corner"] = "points"

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        density = torch.full(shape, float(self.picture == "flat"))
        if self.picture == "points":
            rows, columns = np.random.default_rng([cell, seed]).integers(0, shape[0], (2, 200))
            density[rows, columns] = 1.0
        if self.picture == "corner":
            density[0, 0] = 1.0
        return density


POINTS, FLAT = Drawn(), Drawn(picture="flat")


def settings(name: str, **changed: Any) -> Any:
    values = {"name": name, **copy.deepcopy(VALUES[name]), **changed}
    return parse({"lapse": lapse.Settings, "blinking": blinking.Settings}[name], values, "series")


def acquisition(**changed: Any) -> Acquisition:
    return parse(Acquisition, {**copy.deepcopy(ACQUISITION), **changed}, "acquisition")


def taken(name: str, objects: ObjectSettings = POINTS, cell: int = 0, **changed: Any) -> list[Field]:
    simulator: SeriesSettings = settings(name, **changed)
    return simulator.simulate(objects, acquisition(), "points", cell, 1)


def in_photons(field: Field, role: Literal["volume", "blinking"]) -> torch.Tensor:
    assert field.microscope.camera is not None
    return photons(torch.from_numpy(field.image(role).astype(np.int32)), field.microscope.camera)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def way_px(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far (y, x) the content of `other` lies from that of `one`, by cross-correlation on a finer grid."""
    finer = 8
    spectrum = np.fft.fft2(other - other.mean()) * np.conj(np.fft.fft2(one - one.mean()))
    size = one.shape[0]
    padded = np.zeros((finer * size, finer * size), complex)
    middle = (finer - 1) * size // 2
    padded[middle : middle + size, middle : middle + size] = np.fft.fftshift(spectrum)
    likeness = np.fft.ifft2(np.fft.ifftshift(padded)).real
    peak = np.array(np.unravel_index(likeness.argmax(), likeness.shape))
    return np.asarray((peak + finer * size // 2) % (finer * size) - finer * size // 2) / finer


@pytest.mark.parametrize("name", VALUES)
class TestEverySeries:
    def test_settings_survive_json(self, name: str) -> None:
        assert type(settings(name)).model_validate_json(settings(name).model_dump_json()) == settings(name)

    def test_it_is_chosen_by_its_name(self, name: str) -> None:
        chosen = TypeAdapter(choice_of(series)).validate_python({"name": name, **VALUES[name]})
        assert chosen == settings(name)

    def test_a_field_for_every_level_says_who_it_is(self, name: str) -> None:
        fields = taken(name, cell=7)
        assert [field.name for field in fields] == ["points/cell_007/low", "points/cell_007/high"]
        for field in fields:
            check(field, "here")
            assert field.unit == "counts"
            assert field.illumination is None
            for role, image in field.images.items():
                assert image.dtype == (np.uint16 if role == TAKEN[name] else np.float32)

    def test_the_same_seed_gives_the_same_and_another_cell_does_not(self, name: str) -> None:
        first, again, other = (taken(name, cell=cell)[0].image(TAKEN[name]) for cell in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert alike(first.astype(float), other.astype(float)) < 0.5

    def test_the_level_is_the_brightest_part_of_the_mean(self, name: str) -> None:
        low, high = taken(name)
        for field, light in ((low, 20.0), (high, 200.0)):
            mean = in_photons(field, TAKEN[name]).flatten(0, -3).mean(dim=0)
            assert torch.quantile(mean, 0.999).item() == pytest.approx(light, rel=0.1)

    def test_levels_show_the_same_scene_with_noise_of_their_own(self, name: str) -> None:
        equal = acquisition(levels={"one": 100.0, "other": 100.0})
        one, other = (
            in_photons(field, TAKEN[name]).flatten(0, -3)
            for field in settings(name).simulate(POINTS, equal, "points", 0, 1)
        )
        coarse = [torch.nn.functional.avg_pool2d(frames[None], 4)[0].numpy() for frames in (one, other)]
        assert alike(*coarse) > 0.95
        # Both are Poisson and read noise of the same expectation, so their difference has the variance of two.
        expected = 2 * (one.mean() + 1.5**2).item()
        assert (one - other).var().item() == pytest.approx(expected, rel=0.06)

    @pytest.mark.parametrize("picture", ["empty", "corner"])
    def test_a_field_with_nothing_in_it_is_refused(self, name: str, picture: Any) -> None:
        objects = Drawn(picture=picture)
        with pytest.raises(BadInput, match="points, cell 0: nothing to see in the field"):
            taken(name, objects)


class TestLapse:
    def test_shapes(self) -> None:
        field = taken("lapse")[0]
        assert field.image("volume").shape == field.image("volume_clean").shape == (3, 5, 32, 32)

    def test_noise_is_that_of_the_camera(self) -> None:
        field = taken("lapse", FLAT)[1]
        clean = torch.from_numpy(field.image("volume_clean"))
        np.testing.assert_allclose(clean, 200.0, rtol=1e-4)
        deviation = (in_photons(field, "volume") - clean) / torch.sqrt(clean + 1.5**2)
        assert deviation.mean().item() == pytest.approx(0, abs=0.05)
        assert deviation.std().item() == pytest.approx(1, abs=0.04)

    def test_neighbouring_slices_are_as_alike_as_their_sheets_overlap(self) -> None:
        """Planes are independent, so slices correlate as Gaussians overlap: exp(-(dz / sigma)^2 / 4)."""
        found: dict[int, list[float]] = {1: [], 3: [], 6: []}
        for cell in range(6):
            clean = taken("lapse", cell=cell, slices=8, times=1)[0].image("volume_clean")[0]
            for steps, all_found in found.items():
                all_found += [alike(clean[z], clean[z + steps]) for z in range(8 - steps)]
        means = {steps: float(np.mean(each)) for steps, each in found.items()}
        for steps, mean in means.items():
            assert mean == pytest.approx(np.exp(-((0.1 * steps / 0.25) ** 2) / 4), abs=0.12)
        assert means[1] > means[3] > means[6]

    def test_every_plane_moves_at_its_speed(self) -> None:
        """A sheet thinner than a slice shows one plane alone: 0.13 um per time are 2 pixels, at constant velocity."""
        volume = taken("lapse", axial_um=0.02, speed_um=0.13, times=4, slices=3)[0].image("volume_clean")
        for z in range(3):
            steps = [way_px(volume[t, z], volume[t + 1, z]) for t in range(3)]
            assert [np.hypot(*step) for step in steps] == pytest.approx([2.0] * 3, abs=0.3)
            np.testing.assert_allclose(steps, np.broadcast_to(steps[0], (3, 2)), atol=0.3)
        directions = [np.arctan2(*way_px(volume[0, z], volume[1, z])) for z in range(3)]
        assert np.ptp(directions) > 0.1

    def test_without_speed_nothing_moves(self) -> None:
        clean = taken("lapse", speed_um=0.0)[0].image("volume_clean")
        np.testing.assert_allclose(clean[1:], np.broadcast_to(clean[:1], (2, 5, 32, 32)), atol=1e-3)

    def test_what_leaves_the_field_does_not_come_in_on_the_other_side(self) -> None:
        """Over five times the plane travels a whole field; the light of a plane all alike stays the same."""
        clean = taken("lapse", FLAT, speed_um=0.5, times=5)[0].image("volume_clean")
        np.testing.assert_allclose(clean, 20.0, rtol=1e-3)

        class LeftOfView(Drawn):
            def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
                density = torch.zeros(shape)
                density[:, : shape[1] // 2] = 1.0
                return density

        moving = taken("lapse", LeftOfView(), axial_um=0.02, speed_um=0.5, times=3, slices=2)
        for plane in moving[0].image("volume_clean").reshape(-1, 32, 32):
            along = plane.mean(axis=0)
            assert (np.diff(along) < 0.1 * along.max()).all()  # bright on the left or dark, never up again

    @pytest.mark.parametrize(
        "changed", [{"times": 0}, {"slices": 0}, {"slice_um": 0.0}, {"axial_um": 0.0}, {"speed_um": -1.0}]
    )
    def test_settings_that_cannot_be_are_refused(self, changed: dict[str, Any]) -> None:
        with pytest.raises(BadInput, match=next(iter(changed))):
            settings("lapse", **changed)


class TestBlinking:
    def test_shapes(self) -> None:
        field = taken("blinking")[0]
        assert field.image("blinking").shape == (40, 32, 32)
        assert field.image("reference").shape == field.image("truth").shape == (64, 64)

    def test_fluorophores_are_on_for_their_share_and_time(self) -> None:
        states = settings("blinking", frames=400, on_share=0.2, on_frames=3.0)._states(
            500, np.random.default_rng(1)
        )
        assert states[0].mean() == pytest.approx(0.2, abs=0.06)
        assert states.mean() == pytest.approx(0.2, rel=0.05)
        stays = (states[:-1] & states[1:]).sum() / states[:-1].sum()
        assert 1 / (1 - stays) == pytest.approx(3.0, rel=0.05)

    def test_frames_correlate_over_time_as_a_two_state_process(self) -> None:
        """Autocovariance share (1 - share) (1 - p_on - p_off)^lag of each fluorophore."""
        states = (
            settings("blinking", frames=400, on_share=0.25, on_frames=4.0)
            ._states(2000, np.random.default_rng(2))
            .astype(float)
            - 0.25
        )
        p_off, p_on = 1 / 4, 1 / 4 * 0.25 / 0.75
        for lag in (1, 2, 5):
            found = (states[:-lag] * states[lag:]).mean()
            assert found == pytest.approx(0.25 * 0.75 * (1 - p_on - p_off) ** lag, abs=0.006)

    def test_fluorophores_are_as_many_as_asked_for_and_where_the_object_is(self) -> None:
        density = np.zeros((100, 100))
        density[:, :25] = 1.0
        places = settings("blinking", labels_per_um2=50.0)._places_um(density, 0.1, np.random.default_rng(3))
        assert len(places) == pytest.approx(50 * 10 * 10, rel=0.05)
        assert places[:, 1].max() < 2.5
        assert places.min() >= 0

    def test_frames_fluctuate_as_much_as_few_fluorophores_must(self) -> None:
        """Of N independent ones with on share p, var / mean^2 of the light of all is (1 - p) / (p N)."""
        field = taken("blinking", FLAT, frames=300, labels_per_um2=100.0, on_share=0.1, on_frames=1.0)[1]
        light = in_photons(field, "blinking").sum(dim=(1, 2)).numpy()
        num = 100 * (32 * 0.065) ** 2
        assert light.var() / light.mean() ** 2 == pytest.approx(0.9 / (0.1 * num), rel=0.35)

    def test_reference_and_truth_are_as_bright_as_the_mean_of_many_frames(self) -> None:
        field = taken("blinking", frames=400, on_share=0.4, on_frames=2.0)[1]
        mean = in_photons(field, "blinking").mean(dim=0).numpy()
        roles: tuple[Role, ...] = ("reference", "truth")
        for role in roles:
            coarse = field.image(role).reshape(32, 2, 32, 2).mean(axis=(1, 3))
            assert coarse.mean() == pytest.approx(mean.mean(), rel=0.06)
        blurred = widefield(torch.from_numpy(field.image("truth")), field.microscope, 2).numpy()
        assert alike(blurred[6:-6, 6:-6], mean[6:-6, 6:-6]) > 0.97

    def test_prepare_makes_srrf_of_all_frames_and_keeps_the_first(self) -> None:
        field, image = self._prepared(SRRF)
        assert image.shape == (128, 128)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.mean() == pytest.approx(field.image("widefield").mean(), rel=1e-4)
        assert field.image("blinking").shape == (5, 32, 32)
        assert any("40 frames were taken, the first 5 kept" in note for note in field.notes)
        reference = field.image("reference").repeat(2, axis=0).repeat(2, axis=1)
        mean = field.image("widefield").repeat(4, axis=0).repeat(4, axis=1)
        check(field, "here")
        assert alike(image, reference) > 0.5
        # Sharper than the wide-field: more of its power lies above the cutoff of the objective.
        assert self._fine_share(image) > 3 * self._fine_share(mean)

    def test_srrf_can_be_left_out(self) -> None:
        assert "srrf" not in self._prepared(None)[0].images

    def _prepared(self, srrf: dict[str, Any] | None) -> tuple[Field, np.ndarray]:
        field = taken("blinking", srrf=srrf)[1]
        frames = in_photons(field, "blinking").numpy()
        field = field.with_images({"blinking": frames, "widefield": frames.mean(axis=0)})
        field = settings("blinking", srrf=srrf).prepared(field)
        return field, np.asarray(field.images.get("srrf"))

    def _fine_share(self, image: np.ndarray) -> float:
        power = np.abs(np.fft.fft2(image - image.mean())) ** 2
        frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(128, 0.065 / 4),) * 2))
        return float(power[(frequency > 5.33) & (frequency < 10)].sum() / power.sum())

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"kept": 41}, "kept 41 must not be above frames 40"),
            ({"on_share": 0.8, "on_frames": 1.0}, "on_frames 1.0 is too short for on_share 0.8"),
            ({"on_share": 1.0}, "on_share"),
            ({"on_frames": 0.5}, "on_frames"),
            ({"frames": 1}, "frames"),
            ({"srrf": {**SRRF, "order": None}}, "srrf: order must be 2, 3 or 4"),
        ],
    )
    def test_settings_that_cannot_be_are_refused(self, changed: dict[str, Any], sentence: str) -> None:
        with pytest.raises(BadInput, match=sentence):
            settings("blinking", **changed)
