"""A sheet shows what a reconstruction rests on, with the numbers it was given and nothing cut off."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from sim_models.evaluation.sheets import Sheet, save_sheet
from sim_models.field import Field
from sim_models.optics.consistency import check_consistency
from sim_models.optics.estimate import AngleEstimate, Estimate
from sim_models.optics.estimate.otf_fit import OtfFit
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct import Reconstructor


@pytest.fixture
def sheet(make_field: Callable[..., Field]) -> Sheet:
    """Of a toy field, with made-up uncertainties that can be told apart."""
    field = make_field(4)
    frames, microscope, known = torch.as_tensor(field.image("raw")), field.microscope, field.illumination
    assert known is not None
    angles = tuple(
        AngleEstimate(
            angle_rad=known.angle_rad[angle],
            angle_sigma_rad=0.001 * (angle + 1),
            spacing_um=known.spacing_um[angle],
            spacing_sigma_um=0.0001 * (angle + 1),
            phase_rad=known.phase_rad[angle],
            phase_sigma_rad=(0.01,) * 3,
            modulation=known.modulation[angle],
            modulation_sigma=(0.03,),
            lead_rad=(0.0,),
            gain=(1.0,) * 3,
            score=100.0 + angle,
            limit=12.0,
            found="alone",
        )
        for angle in range(3)
    )
    estimate = Estimate(
        angles=angles,
        equal_steps=True,
        electrons_per_count=1.0,
        noise_variance=(30.0,) * 3,
        coloured=False,
        otf=Otf.ideal(microscope).attenuated(0.5),
        otf_fit=OtfFit(1.0, 0.01, 0.5, 0.02, "attenuation"),
        haze=(0.0, 0.0),
        warnings=(),
    )
    reconstruct = Reconstructor(frames, microscope, known)
    image = reconstruct(frames)
    return Sheet(
        title="stack.tif, classical SIM",
        widefield=frames.mean(dim=(0, 1)).numpy(),
        image=image.numpy(),
        microscope=microscope,
        estimate=estimate,
        transfer=reconstruct.transfer,
        consistency=check_consistency(image, frames, microscope, known),
        warnings=(),
    )


@dataclass
class Drawn:
    """The last figure that was saved, and what was put into its axes."""

    figure: Figure | None
    images: list[tuple[Any, dict[str, Any]]]

    @property
    def texts(self) -> list[str]:
        """Titles and texts of all axes."""
        assert self.figure is not None
        found = [text.get_text() for axes in self.figure.axes for text in axes.texts]
        return [*found, *(axes.get_title() for axes in self.figure.axes)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn(None, [])
    draw, save = matplotlib.axes.Axes.imshow, Figure.savefig

    def imshow(axes: Any, image: Any, **style: Any) -> Any:
        found.images.append((image, style))
        return draw(axes, image, **style)

    def savefig(figure: Figure, *arguments: Any, **options: Any) -> None:
        save(figure, *arguments, **options)
        found.figure = figure

    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", imshow)
    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def test_a_sheet_is_a_picture_and_repeats_itself(sheet: Sheet, tmp_path: Path) -> None:
    for name in ("first", "second.png"):
        save_sheet(sheet, tmp_path / name)
    first = (tmp_path / "first").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == (tmp_path / "second.png").read_bytes()


def test_images_are_shown_as_they_are_and_as_large_as_they_are(
    sheet: Sheet, drawn: Drawn, tmp_path: Path
) -> None:
    save_sheet(sheet, tmp_path / "sheet.png")
    (widefield, _), (image, _), _, (score, limits) = drawn.images
    assert np.array_equal(widefield, sheet.widefield)
    assert np.array_equal(image, sheet.image)
    assert np.array_equal(score, sheet.consistency.score_map)
    edge_um = 32 * sheet.microscope.pixel_um
    assert [style["extent"] for _, style in drawn.images[:2]] == [pytest.approx((0, edge_um, edge_um, 0))] * 2
    assert (limits["vmin"], limits["vmax"]) == (-sheet.consistency.limit, sheet.consistency.limit)


def test_stripes_stand_there_with_their_uncertainties(sheet: Sheet, drawn: Drawn, tmp_path: Path) -> None:
    save_sheet(sheet, tmp_path / "sheet.png")
    text = "\n".join(drawn.texts)
    assert "angle 2: 201.50 ± 0.20 nm, 60.00 ± 0.11 degrees\n    modulation 0.80 ± 0.03\n" in text
    assert "score 102, 12 needed; found alone" in text
    assert "phase steps: even\n" in f"{text}\n"
    assert "haze" not in text
    assert "warning" not in text


def test_what_is_unusual_is_said(sheet: Sheet, drawn: Drawn, tmp_path: Path) -> None:
    estimate = replace(sheet.estimate, equal_steps=False, haze=(0.4, 0.1))
    save_sheet(replace(sheet, estimate=estimate, warnings=("it was foggy",)), tmp_path / "sheet.png")
    text = "\n".join(drawn.texts)
    assert "phase steps: uneven, as measured" in text
    assert "haze: 40 % of the wide-field at the lowest frequencies" in text
    assert "warning: it was foggy" in text


def test_crosses_mark_the_wave_vectors_in_the_spectrum(sheet: Sheet, drawn: Drawn, tmp_path: Path) -> None:
    save_sheet(sheet, tmp_path / "sheet.png")
    assert drawn.figure is not None
    (spectrum,) = (axes for axes in drawn.figure.axes if axes.get_title().startswith("spectrum"))
    marked = np.array([np.hypot(line.get_xdata(), line.get_ydata()) for line in spectrum.lines])
    assert marked == pytest.approx(np.full((3, 2), 1 / sheet.estimate.angles[0].spacing_um))
    left, right, bottom, top = spectrum.images[0].get_extent()
    assert (left, right, bottom, top) == pytest.approx(np.array([-1, 1, 1, -1]) / sheet.microscope.pixel_um)


def test_the_objective_falls_to_nothing_at_its_cutoff_and_the_reconstruction_goes_on(
    sheet: Sheet, drawn: Drawn, tmp_path: Path
) -> None:
    save_sheet(sheet, tmp_path / "sheet.png")
    assert drawn.figure is not None
    (transfer,) = (axes for axes in drawn.figure.axes if axes.get_title() == "transfer functions")
    reconstruction, objective, cutoff = transfer.lines
    cutoff_per_um = sheet.microscope.cutoff_per_um
    assert np.all(np.asarray(cutoff.get_xdata()) == cutoff_per_um)
    beyond = np.asarray(objective.get_xdata()) > cutoff_per_um
    assert np.all(np.asarray(objective.get_ydata())[beyond] == 0)
    assert np.asarray(reconstruction.get_ydata())[beyond].max() > 0.05
    assert str(objective.get_label()) == "objective (attenuation 0.50)"


@pytest.mark.parametrize("warnings", [0, 1, 5])
def test_nothing_is_cut_off_or_squeezed(sheet: Sheet, drawn: Drawn, tmp_path: Path, warnings: int) -> None:
    warning = "the bands agree for another OTF than the stated one: check pixel size, aperture and wavelength"
    save_sheet(replace(sheet, warnings=(warning,) * warnings), tmp_path / "sheet.png")
    assert drawn.figure is not None
    page = drawn.figure.bbox
    assert all(axes.get_position().height > 0.35 for axes in drawn.figure.axes)
    for axes in drawn.figure.axes:
        for text in [*axes.texts, axes.title, axes.xaxis.label]:
            box = text.get_window_extent()
            assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
            assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
