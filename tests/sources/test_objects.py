"""One contract for every kind of object, and what makes each structure itself."""

import pkgutil
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from scipy.ndimage import label
from skimage.feature import structure_tensor, structure_tensor_eigenvalues

from sim_models.config import BadInput, choice_of, parse
from sim_models.sources import objects
from sim_models.sources.drawing import splat
from sim_models.sources.objects import ObjectSettings

PIXEL_UM = 0.01625
SHAPE = (256, 256)

EXAMPLES: dict[str, dict[str, Any]] = {
    "microtubules": {
        "density_um_per_um2": 2.0,
        "persistence_um": 20.0,
        "width_um": 0.05,
        "stray_share": 0.3,
        "labels_per_um": 400.0,
    },
    "f_actin": {
        "bundles_per_um": 0.8,
        "bundle_width_um": 0.15,
        "filaments_per_bundle": 16,
        "mesh_um_per_um2": 8.0,
        "mesh_filament_um": 1.5,
        "filament_width_um": 0.02,
    },
    "ccps": {
        "pits_per_um2": 1.2,
        "smallest_um": 0.1,
        "largest_um": 0.2,
        "filled_share": 0.3,
        "background": 0.25,
    },
    "er": {
        "mesh_um": 0.9,
        "tubule_um": 0.08,
        "open_share": 0.1,
        "sheet_share": 0.2,
        "sheet_brightness": 0.55,
    },
    "mitochondria": {
        "density_um_per_um2": 0.4,
        "shortest_um": 1.0,
        "longest_um": 6.0,
        "narrowest_um": 0.3,
        "widest_um": 0.5,
        "persistence_um": 4.0,
        "cristae_spacing_um": 0.1,
        "cristae_share": 0.5,
    },
    "vesicles": {
        "vesicles_per_um2": 1.2,
        "per_cluster": 4.0,
        "cluster_um": 0.8,
        "median_um": 0.25,
        "size_spread": 0.4,
        "filled_share": 0.4,
        "depth_um": 0.4,
        "background": 0.15,
    },
    "images": {"pixel_um": 0.03, "background_percentile": 1.0},
}
NAMES = sorted(file.name for file in pkgutil.iter_modules(objects.__path__))


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in (1, 2, 10):
        write_png(folder / f"{number}.png", rng.integers(0, 255, (260, 260)).astype(np.uint8))
    return folder


def write_png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(imagecodecs.png_encode(image))


def settings(name: str, image_folder: Path | None = None, **changed: Any) -> ObjectSettings:
    values = {"name": name, **EXAMPLES[name], **changed}
    if name == "images":
        values.setdefault("folder", str(image_folder))
    chosen = choice_of(objects)

    class Tree(objects.Settings):
        objects: chosen  # type: ignore[valid-type]

    return parse(Tree, {"objects": values}, "test").objects


def draw(chosen: ObjectSettings, cell: int = 0, seed: int = 1) -> np.ndarray:
    return chosen.draw(cell, SHAPE, PIXEL_UM, seed).numpy()


def test_every_file_of_the_room_has_an_example_here() -> None:
    assert sorted(EXAMPLES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_density_is_a_float32_image_that_is_never_negative(name: str, image_folder: Path) -> None:
    density = settings(name, image_folder).draw(0, (200, 240), PIXEL_UM, 1)
    assert density.shape == (200, 240)
    assert density.dtype == torch.float32
    assert torch.isfinite(density).all()
    assert density.min() >= 0
    assert density.max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_cell_and_seed_decide_the_object(name: str, image_folder: Path) -> None:
    chosen = settings(name, image_folder)
    first = draw(chosen)
    np.testing.assert_array_equal(first, draw(chosen))
    assert np.abs(first - draw(chosen, cell=1)).max() > 0
    assert np.abs(first - draw(chosen, seed=2)).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_structures_reach_the_border_like_the_middle(name: str, image_folder: Path) -> None:
    chosen = settings(name, image_folder)
    density = np.mean([draw(chosen, cell=cell % 3, seed=cell) for cell in range(9)], axis=0)
    rim = np.ones(SHAPE, bool)
    rim[32:-32, 32:-32] = False
    assert density[rim].mean() == pytest.approx(density[~rim].mean(), rel=0.5)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"images"}))
def test_a_coarser_grid_holds_the_same_light(name: str) -> None:
    """Densities are per field, not per pixel: half the pixels along an edge, four times as much in each."""
    chosen = settings(name)
    fine, coarse = (
        np.mean([chosen.draw(cell, shape, pixel_um, 1).sum() for cell in range(8)])
        for shape, pixel_um in ((SHAPE, PIXEL_UM), ((SHAPE[0] // 2, SHAPE[1] // 2), 2 * PIXEL_UM))
    )
    assert coarse == pytest.approx(fine, rel=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keys_are_refused(name: str, image_folder: Path) -> None:
    with pytest.raises(BadInput, match="shininess: unknown key"):
        settings(name, image_folder, shininess=1.0)


def test_drawing_all_structures_is_quick(image_folder: Path) -> None:
    chosen = [settings(name, image_folder) for name in NAMES]
    start = time.process_time()
    for one in chosen:
        draw(one)
    assert time.process_time() - start < 6.0


def test_points_are_shared_by_their_neighbours_and_keep_weight_and_place() -> None:
    grid = splat(np.array([[0.45, 0.62]]), 2.0, (10, 12), 0.1)
    assert grid.sum() == pytest.approx(2.0)
    rows, columns = np.indices(grid.shape)
    assert (grid * (rows + 0.5)).sum() / 2 * 0.1 == pytest.approx(0.45)
    assert (grid * (columns + 0.5)).sum() / 2 * 0.1 == pytest.approx(0.62)


def test_points_outside_are_left_out() -> None:
    assert splat(np.array([[-0.2, 0.3], [0.3, 1.4], [5.0, 5.0]]), 1.0, (10, 12), 0.1).sum() == 0


def test_microtubule_length_is_the_density_asked_for() -> None:
    chosen = settings("microtubules")
    area_um2 = SHAPE[0] * SHAPE[1] * PIXEL_UM**2
    labels = np.mean([draw(chosen, cell).sum() for cell in range(12)])
    assert labels / 400.0 / area_um2 == pytest.approx(2.0, rel=0.25)


def test_filaments_are_lines_and_pits_are_not() -> None:
    assert coherence("microtubules") > coherence("ccps") + 0.2


def coherence(name: str) -> float:
    """Median coherence of the gradients around bright pixels: 1 for a line, 0 for a disc."""
    density = draw(settings(name))
    bright = density > np.percentile(density, 97)
    large, small = structure_tensor_eigenvalues(structure_tensor(density, sigma=10))[:, bright]
    return float(np.median((large - small) / (large + small)))


def test_pits_with_a_wall_are_dark_inside() -> None:
    """One pit at a time: the label's mean distance from the middle is that of a ring, not a disc."""
    changed = {"background": 0.0, "smallest_um": 0.2, "largest_um": 0.2, "pits_per_um2": 0.2}
    ring, disc = (
        radial_spread(draw(settings("ccps", filled_share=share, **changed))) for share in (0.0, 1.0)
    )
    assert ring > 1.15 * disc
    assert ring == pytest.approx(0.087, abs=0.02)


def radial_spread(density: np.ndarray) -> float:
    """Root-mean-square radius of the separate patches in um, median over whole ones."""
    patches, num = label(density > 0)
    radii = []
    for patch in range(1, num + 1):
        rows, columns = np.nonzero(patches == patch)
        weight = density[rows, columns]
        whole = rows.min() > 0 and columns.min() > 0 and max(rows.max(), columns.max()) < SHAPE[0] - 1
        if whole and len(rows) < 250:
            middle = np.average(rows, weights=weight), np.average(columns, weights=weight)
            square = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2
            radii.append(np.sqrt(np.average(square, weights=weight)) * PIXEL_UM)
    return float(np.median(radii))


def test_closed_er_meshes_are_sheets_on_one_side() -> None:
    chosen = settings("er", sheet_share=0.3)
    empty = [(draw(chosen, cell) < 1e-3).astype(float) for cell in range(3)]
    for gaps in empty:
        by_side = [gaps[:64].mean(), gaps[-64:].mean(), gaps[:, :64].mean(), gaps[:, -64:].mean()]
        assert max(by_side) - min(by_side) > 0.15


def test_more_sheets_leave_fewer_gaps() -> None:
    few, many = (
        np.mean([(draw(settings("er", sheet_share=share), cell) < 1e-3).mean() for cell in range(3)])
        for share in (0.05, 0.6)
    )
    assert many < few - 0.15


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("ccps", {"smallest_um": 0.3}),
        ("mitochondria", {"narrowest_um": 0.7}),
        ("mitochondria", {"longest_um": 0.5}),
    ],
)
def test_sizes_in_the_wrong_order_are_refused(name: str, changed: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="must not be above"):
        settings(name, **changed)


def test_images_are_taken_in_natural_order(tmp_path: Path) -> None:
    for number, level in ((10, 200), (2, 100), (1, 50)):
        image = np.zeros((260, 260), np.uint8)
        image[::2] = level
        write_png(tmp_path / f"{number}.png", image)
    chosen = settings("images", tmp_path, pixel_um=PIXEL_UM, background_percentile=0.0)
    brightness = [chosen.draw(cell, (100, 100), PIXEL_UM, 0).mean().item() for cell in range(3)]
    assert brightness == sorted(brightness)


def test_an_image_keeps_its_sizes_in_um(tmp_path: Path) -> None:
    """Stripes with a period of 20 pixels of 0.03 um come out with 0.6 um."""
    rows = np.arange(300)
    stripes = np.repeat(100 + 100 * np.cos(2 * np.pi * rows / 20)[:, None], 300, axis=1)
    write_png(tmp_path / "1.png", stripes.astype(np.uint8))
    part = settings("images", tmp_path).draw(0, (400, 400), 0.015, 0).numpy()
    spectrum = np.abs(np.fft.rfft(part.mean(axis=1) - part.mean()))
    assert spectrum.argmax() == 400 * 0.015 / 0.6


def test_the_background_of_an_image_becomes_zero(tmp_path: Path) -> None:
    image = np.full((260, 260), 40, np.uint8)
    image[100:160] = 140
    write_png(tmp_path / "1.png", image)
    part = settings("images", tmp_path, pixel_um=PIXEL_UM).draw(0, (250, 250), PIXEL_UM, 0).numpy()
    assert np.median(part) < 1e-3
    assert np.median(part[part > 50]) == pytest.approx(100, abs=1)


def test_too_few_images_for_the_cells_are_refused(image_folder: Path) -> None:
    with pytest.raises(BadInput, match=r"holds 3 images .* cell number 4 was asked for"):
        draw(settings("images", image_folder), cell=3)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder of object images"):
        draw(settings("images", tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.full((260, 260), 7, np.uint8), "every pixel has the value 7"),
        (np.arange(100 * 100, dtype=np.uint16).reshape(100, 100), "100 x 100 pixels are too few"),
        (np.random.default_rng(0).integers(0, 255, (260, 260, 3)).astype(np.uint8), "is a colour image"),
    ],
)
def test_images_that_cannot_be_objects_are_refused(image: np.ndarray, sentence: str, tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", image)
    with pytest.raises(BadInput, match=sentence):
        draw(settings("images", tmp_path))


def test_a_gray_image_saved_in_colour_is_accepted(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 255, (260, 260)).astype(np.uint8)
    (tmp_path / "gray").mkdir()
    (tmp_path / "colour").mkdir()
    write_png(tmp_path / "gray" / "1.png", gray)
    write_png(tmp_path / "colour" / "1.png", np.stack([gray] * 3, axis=-1))
    np.testing.assert_array_equal(
        draw(settings("images", tmp_path / "gray")), draw(settings("images", tmp_path / "colour"))
    )


@pytest.mark.parametrize("structure", ["microtubules", "ccp", "er", "factin"])
def test_real_super_resolved_images_serve_as_objects(structure: str, real_data: Path) -> None:
    folder = real_data / "phantoms-reconstructed-structures" / structure
    density = draw(settings("images", folder, pixel_um=0.03), cell=29)
    assert density.std() > 0
