"""Panels: the same contrast in every image of a row, and the same bytes for the same field."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest

from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.scores import Restored, restore, score
from sim_models.field import Field
from sim_models.restorer import Restorer


@dataclass
class Drawn:
    """What was put into axes: images with their contrast limits, and titles."""

    images: list[tuple[tuple[float, float], Any]]
    titles: list[str]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn([], [])
    draw, write = matplotlib.axes.Axes.imshow, matplotlib.axes.Axes.text

    def imshow(axes: Any, image: Any, **style: Any) -> Any:
        found.images.append(((style["vmin"], style["vmax"]), image))
        return draw(axes, image, **style)

    def text(axes: Any, x: float, y: float, said: str, **style: Any) -> Any:
        found.titles.append(said)
        return write(axes, x, y, said, **style)

    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", imshow)
    monkeypatch.setattr(matplotlib.axes.Axes, "text", text)
    return found


@pytest.fixture
def restored(make_field: Callable[..., Field], restorer: Restorer) -> Restored:
    field = make_field(4)
    field = field.with_images({"reconstruction": 0.9 * field.image("reference")})
    (each,) = restore([field], {"finetune": restorer})
    return each


def test_a_panel_is_a_picture_and_repeats_itself(restored: Restored, tmp_path: Path) -> None:
    table = score(restored, border_px=2)
    for name in ("first.png", "second.png"):
        save_panel(restored, table, tmp_path / name)
    first = (tmp_path / "first.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == (tmp_path / "second.png").read_bytes()


def test_contrast_and_captions_are_honest(restored: Restored, drawn: Drawn, tmp_path: Path) -> None:
    """Restored images have the limits of the reference, errors limits of their own, scores those of the table."""
    table = score(restored, border_px=2)
    save_panel(restored, table, tmp_path / "panel.png")

    low, high = np.percentile(restored.target, [0.1, 99.9])
    images = [
        *(restored.images[name] for name in ("widefield", "reconstruction", "finetune")),
        restored.target,
    ]
    for image in images:
        assert ((low, high) in [limits for limits, each in drawn.images if each is image]) is True
    reach = (high - low) / 2
    errors = [each for limits, each in drawn.images if limits == (-reach, reach)]
    assert len(errors) == 3
    assert np.array_equal(errors[2], restored.images["finetune"] - restored.target)
    psnr = table.set_index(["arm", "metric"])["value"]["finetune", "psnr_targetrange_noscale"]
    assert f"PSNR {psnr:.1f} dB" in drawn.titles
    assert "fine-tuned" in drawn.titles


def test_the_last_row_shows_what_the_frames_say_of_each_image(
    restored: Restored, drawn: Drawn, tmp_path: Path
) -> None:
    save_panel(restored, score(restored, border_px=2), tmp_path / "panel.png")
    limit = restored.consistency["finetune"].limit
    scores = [each for limits, each in drawn.images if limits == (-limit, limit)]
    assert len(scores) == 3
    assert np.array_equal(scores[2], restored.consistency["finetune"].score_map.numpy())
    assert sum(title.endswith("% contradicted") for title in drawn.titles) == 3


def test_without_stripes_there_is_no_such_row(restored: Restored, drawn: Drawn, tmp_path: Path) -> None:
    silent = replace(restored, consistency={})
    save_panel(silent, score(silent, border_px=2), tmp_path / "panel.png")
    assert not any("contradicted" in title for title in drawn.titles)
    assert len(drawn.images) == 8
