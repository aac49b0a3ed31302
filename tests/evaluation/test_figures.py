import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from sim_models.evaluation import figures
from sim_models.evaluation.figures import Curve, Goal, Mark, Offer, Size
from sim_models.evaluation.intervals import Estimate

CURVE = pd.DataFrame({"step": [100, 200], "val_psnr": [36.0, 39.0]})
SIZES = [
    Size("finetune", 1, 38.0, 37.5, 38.4),
    Size("finetune", 10, 39.0, 38.9, 39.1),
    Size("scratch", 1, 33.0, 31.0, 35.0),
    Size("scratch", 10, 38.0, 37.9, 38.2),
]
OFFERS = [
    Offer("direct", 0.0, -2.5, -3.0, -2.0),
    Offer("finetune", 0.8, -0.02, -0.06, 0.01),
    Offer("finetune_equal", 8.0, 0.0, 0.0, 0.0),
    Offer("scratch", 9.0, -0.6, None, None),
]
CURVES = [
    Curve("scratch", ((0, 20.0), (100, 36.0), (600, 39.0))),
    Curve("finetune", ((10, 38.0), (60, 39.2))),
]
FIELDS = pd.DataFrame(
    {"cell": ["a", "a", "b", "b"], "level": ["low", "high"] * 2, "value": [1.0, 2.0, 1.5, 2.5]}
)

DRAWN = {
    "training curve": lambda: figures.training_curve(CURVE),
    "learning curves": lambda: figures.learning_curves(SIZES, 37.0, [Mark("finetune", 1, "enough (n = 1)")]),
    "one size": lambda: figures.learning_curves(SIZES[1::2], 37.0, []),
    "quality and cost": lambda: figures.quality_and_cost(OFFERS, 0.1),
    "no margin": lambda: figures.quality_and_cost(OFFERS[:2], 0.0),
    "time to quality": lambda: figures.time_to_quality(CURVES, 37.0, Goal(39.0, 40.0, 600.0)),
    "never reached": lambda: figures.time_to_quality(CURVES, 37.0, Goal(40.0, None, 600.0)),
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


def test_a_curve_that_gets_there_says_when() -> None:
    assert {"step 40", "step 600"} <= set(texts(DRAWN["time to quality"]()))
    assert "step 40" not in texts(DRAWN["never reached"]())


def test_every_number_of_cells_and_every_mark_is_named() -> None:
    assert {"1", "10", "enough (n = 1)", "fine-tuned", "from scratch", "direct"} <= set(
        texts(DRAWN["learning curves"]())
    )


def test_what_costs_nothing_stands_apart_from_what_costs() -> None:
    assert {"none", "direct", "fine-tuned, long", "−0.1"} <= set(texts(DRAWN["quality and cost"]()))
