"""Panels: the same contrast in every image of a row, and the same bytes for the same field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest

from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.scores import Restored, restore, score
from sim_models.field import Field
from sim_models.restorer import Restorer


@pytest.fixture
def restored(make_field: Callable[..., Field], restorer: Restorer) -> Restored:
    (each,) = restore([make_field(4)], {"finetune": restorer}, wiener=0.1)
    return each


def test_a_panel_is_a_picture_and_repeats_itself(restored: Restored, tmp_path: Path) -> None:
    table = score(restored, border_px=2)
    for name in ("first.png", "second.png"):
        save_panel(restored, table, tmp_path / name)
    first = (tmp_path / "first.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == (tmp_path / "second.png").read_bytes()


def test_contrast_and_captions_are_honest(
    restored: Restored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored images have the limits of the reference, errors limits of their own, scores those of the table."""
    shown: list[tuple[tuple[float, float], np.ndarray]] = []
    titles: list[str] = []
    draw, title = matplotlib.axes.Axes.imshow, matplotlib.axes.Axes.set_title

    def imshow(axes: Any, image: Any, **style: Any) -> Any:
        shown.append(((style["vmin"], style["vmax"]), image))
        return draw(axes, image, **style)

    def set_title(axes: Any, text: str, **style: Any) -> Any:
        titles.append(text)
        return title(axes, text, **style)

    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", imshow)
    monkeypatch.setattr(matplotlib.axes.Axes, "set_title", set_title)
    table = score(restored, border_px=2)
    save_panel(restored, table, tmp_path / "panel.png")

    low, high = np.percentile(restored.target, [0.1, 99.9])
    images = [*(restored.images[name] for name in ("widefield", "wiener", "finetune")), restored.target]
    for image in images:
        assert ((low, high) in [limits for limits, each in shown if each is image]) is True
    reach = (high - low) / 2
    errors = [each for limits, each in shown if limits == (-reach, reach)]
    assert len(errors) == 3
    assert np.array_equal(errors[2], restored.images["finetune"] - restored.target)
    psnr = table.set_index(["arm", "metric"])["value"]["finetune", "psnr_targetrange_noscale"]
    assert f"PSNR {psnr:.1f} dB" in titles
    assert "fine-tuned" in titles
