import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from sim_models.evaluation import figures
from sim_models.evaluation.figures import Bar
from sim_models.evaluation.intervals import Estimate

STAGES = ("enc1", "bottleneck", "dec1", "head")
TRIALS = [
    Bar(0, 0, 0.001, 1.0, 38.0, pruned=False, chosen=False),
    Bar(1, 3, 0.002, 0.2, 39.0, pruned=False, chosen=True),
    Bar(0, 3, 0.0005, 0.001, 37.0, pruned=True, chosen=False),
]
CURVES = pd.DataFrame(
    [("scratch", 100, 36.0), ("scratch", 200, 39.0), ("finetune", 50, 38.9), ("finetune", 100, 39.1)],
    columns=["arm", "step", "val_psnr"],
)
FIELDS = pd.DataFrame(
    {"cell": ["a", "a", "b", "b"], "level": ["low", "high"] * 2, "value": [1.0, 2.0, 1.5, 2.5]}
)

DRAWN = {
    "freeze study": lambda: figures.freeze_study(STAGES, TRIALS),
    "one trial": lambda: figures.freeze_study(STAGES, TRIALS[:1]),
    "quality and share": lambda: figures.quality_and_share(TRIALS),
    "learning curves": lambda: figures.learning_curves(CURVES, 37.5, 100),
    "one learning curve": lambda: figures.learning_curves(CURVES[:2], None, None),
    "paired": lambda: figures.paired_differences(
        {"direct": FIELDS, "scratch": FIELDS},
        {"direct": Estimate(1.75, None, None, 2), "scratch": Estimate(1.75, 1.5, 2.0, 2)},
        "finetune",
        ["low", "high"],
    ),
}


def texts(svg: str) -> list[str]:
    """Every text of a figure, from the first drawn to the last."""
    return [
        "".join(element.itertext())
        for element in ElementTree.fromstring(svg).iter()
        if element.tag.endswith("}text")
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_one_element_that_is_drawn_alike_every_time(name: str) -> None:
    svg = DRAWN[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["aria-label"]
    assert DRAWN[name]() == svg


@pytest.mark.parametrize("name", DRAWN)
def test_ink_is_the_colour_of_the_page(name: str) -> None:
    svg = DRAWN[name]()
    assert "currentColor" in svg
    assert figures.INK not in svg


def test_figures_side_by_side_share_no_id_but_for_equal_shapes() -> None:
    shapes: dict[str, bytes] = {}
    for name in DRAWN:
        for element in ElementTree.fromstring(DRAWN[name]()).iter():
            if "id" in element.attrib:
                drawn = ElementTree.tostring(element).strip()
                assert shapes.setdefault(element.attrib["id"], drawn) == drawn


def test_trials_stand_best_on_top_and_stopped_ones_say_so() -> None:
    found = [text for text in texts(figures.freeze_study(STAGES, TRIALS)) if "dB" in text]
    assert found == ["39.00 dB", "38.00 dB", "37.00 dB, stopped"]


def test_a_curve_that_passes_says_when() -> None:
    assert "step 100" in texts(DRAWN["learning curves"]())
    assert not any(text.startswith("step") for text in texts(DRAWN["one learning curve"]()))
