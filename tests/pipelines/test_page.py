import contextlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipelines import report
from pipelines.page import study_page
from pipelines.registry.pipeline import Registered
from pipelines.shared.params import Params, read_params
from sim_models.config import BadInput
from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.gate import Check, Verdict
from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.metrics import METRICS
from sim_models.normalise import Normaliser
from sim_models.restorer import Card, Restorer
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import Split

REPOSITORY = Path(__file__).resolve().parents[2]
QUALITY = {
    "widefield": 30.0,
    "bicubic": 30.5,
    "reconstruction": 36.0,
    "direct": 37.0,
    "finetune": 39.6,
    "finetune_equal": 39.65,
    "scratch": 39.1,
}
"""PSNR of each arm at low light (dB); classical SIM gains most from light"""


NUM_MODELS, NUM_TRANSFERS = 2, 1
NUM_STORIES = NUM_MODELS + NUM_TRANSFERS
"""of the study in params.yaml, each with a picture for two light levels"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, findings: Any) -> str:
    """The page of a study in which fine-tuning won, on five test cells."""
    return _page_of_a_study(tmp_path_factory.mktemp("study"), findings())


def _page_of_a_study(folder: Path, found: Any, cells: int = 5) -> str:
    """Write a study with made-up results into an empty folder and return its page."""
    with contextlib.chdir(folder):
        quick = re.sub(r"resamples: \d+", "resamples: 200", (REPOSITORY / "params.yaml").read_text())
        Path("params.yaml").write_text(quick)
        params = read_params()
        for structure in params.structures:
            _write_split(structure, cells)
        for key, model in params.models.items():
            _write_model(key, params)
            _write_results("models", key, model.structure, "scratch", ["scratch"], cells)
        for key, transfer in params.transfers.items():
            study = replace(found, source=transfer.source, structure=transfer.structure).record()
            (Path("transfers") / key).mkdir(parents=True)
            (Path("transfers") / key / "study.json").write_text(study.model_dump_json())
            arms = ["direct", "finetune", "finetune_equal", "scratch"]
            _write_results("transfers", key, transfer.structure, study.chosen, arms, cells)
        _matrix().to_csv("reports/matrix.csv", index=False)
        report.main()
        return Path("reports/index.html").read_text()


def _write_split(structure: str, cells: int) -> None:
    names = [f"cell_{number:03d}" for number in range(cells + 6)]
    folder = Path("data/fields") / structure
    folder.mkdir(parents=True)
    split = Split(train=tuple(names[:4]), val=tuple(names[4:6]), test=tuple(names[6:]))
    Prepared.seal(folder, structure, split)


def _write_model(key: str, params: Params) -> None:
    recipe = params.model(key).recipe.in_full()
    card = Card(
        structure=params.model(key).structure,
        arm="scratch",
        angles=3,
        phases=3,
        pixel_um=0.065,
        unit="photons",
        light={"low": 20.0, "high": 200.0},
        training_cells=("cell_000",),
        split_hash="0" * 64,
        steps=600,
        parent=None,
        frozen_stages=(),
    )
    network = recipe.network.build(9, 1, recipe.task.scale)
    normaliser = Normaliser(settings=recipe.normaliser, fitted=None, fitted_target=None)
    Restorer(recipe, network, normaliser, card, (9, 1)).save(Path("models") / key)


def _write_results(kind: str, key: str, structure: str, arm: str, arms: list[str], cells: int) -> None:
    details = Path("reports") / kind / key / "details"
    details.mkdir(parents=True)
    _scores(structure, arms, cells).to_csv(details / "scores.csv", index=False)
    for level in ("low", "high"):
        Figure(figsize=(8, 3)).savefig(details / f"panel_{level}.png")
    if kind == "models":
        curve = pd.DataFrame(
            {"arm": "scratch", "step": range(50, 301, 50), "val_psnr": np.linspace(33, 39.2, 6)}
        )
        Path("reports/curves").mkdir(exist_ok=True)
        curve.to_csv(f"reports/curves/{key}.csv", index=False)
    Path("reports/registered").mkdir(exist_ok=True)
    Path(f"reports/registered/{key}.json").write_text(_registered(structure, arm, kind).model_dump_json())


def _scores(structure: str, arms: list[str], cells: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for cell in range(6, 6 + cells):
        hardness = random.normal(0, 1)
        for level in ("low", "high"):
            for arm in ["widefield", "bicubic", "reconstruction", *arms]:
                light = 0 if level == "low" else 6 if arm == "reconstruction" else 1
                psnr = QUALITY[arm] + light + hardness + random.normal(0, 0.1)
                for metric in METRICS:
                    value = (
                        psnr if metric.startswith("psnr") else 1 / psnr if "nrmse" in metric else psnr / 50
                    )
                    rows.append((structure, f"cell_{cell:03d}", level, arm, metric, value))
                if arm != "widefield":
                    rows.append((structure, f"cell_{cell:03d}", level, arm, FLAGGED, 50 - psnr))
    return pd.DataFrame(rows, columns=["structure", "cell", "level", "arm", "metric", "value"])


def _matrix() -> pd.DataFrame:
    names = ["microtubules", "ccps", "er"]
    rows = [
        (f"{source}_nafnet", target, level, 36.0, 39 + 0.3 * place, 3.0, 2.8, 3.2, 6, source == target)
        for place, source in enumerate(names[:2])
        for target in names
        for level in ("all", "low", "high")
    ]
    columns = "source target level direct finetune gain_mean gain_low gain_high cells own"
    return pd.DataFrame(rows, columns=columns.split())


def _registered(structure: str, arm: str, kind: str) -> Registered:
    check = Check(
        rule="psnr_targetrange_noscale surely more than +1 from bicubic", found="8.9 [8, 9.8]", passed=True
    )
    parent = "sim-microtubules version 1" if kind == "transfers" and arm != "scratch" else None
    return Registered(
        name=f"sim-{structure}",
        version=1,
        arm=arm,
        champion=True,
        champion_before=None,
        parent=parent,
        verdict=Verdict(checks=(check,)),
    )


def text_of(html: str) -> str:
    """What a person reads: no tags, no styles, single spaces."""
    html = re.sub(r"<style.*?</style>|<svg.*?</svg>|<script.*?</script>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def without_code(page: str) -> str:
    """The page without what draws its figures, which is not ours."""
    start = page.index("<script>")
    return page[:start] + page[page.rindex("</script>") :]


class Reader(HTMLParser):
    """What a browser makes of a page: open elements, ids, addresses, and the words a person reads."""

    NEVER_CLOSED = ("meta", "img", "br", "link")
    UNREAD = ("style", "svg", "script")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag not in self.NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.NEVER_CLOSED:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not set(self.UNREAD) & set(self.open):
            self.words.append(data)


def test_the_page_asks_for_nothing_from_outside(page: str) -> None:
    addresses = Reader(page).addresses
    assert sum(address.startswith("data:image/png;base64,") for address in addresses) == 2 * NUM_STORIES
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import|<script[^>]*src", without_code(page))


def test_what_draws_interactive_figures_stands_in_the_page_once_before_its_end(page: str) -> None:
    assert page.count("Plotly.react(box") == 1
    numbers = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    assert len(numbers) == page.count('class="plot"') == 3 * NUM_TRANSFERS + 1
    assert all(set(json.loads(each)) == {"data", "layout"} for each in numbers)
    assert page.rindex('class="plot"') < page.index("Plotly.react(box")


def test_every_element_is_closed_and_every_link_leads_somewhere(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_the_same_results_give_the_same_page(page: str, tmp_path: Path, findings: Any) -> None:
    assert _page_of_a_study(tmp_path, findings()) == page


def test_a_decision_is_told_with_its_numbers(page: str) -> None:
    text = Reader(page).text
    assert "Fine-tune, freezing intro-enc1, 60 steps. It is the cheapest" in text
    assert re.search(r"direct use −2\.72 dB \[−2\.7\d, −2\.7\d\]", text)
    assert re.search(r"5 sealed test cells it comes to a PSNR of \d\d\.\d\d dB \[", text)
    assert re.search(r"2\.\d\d dB \[2\.\d\d, 2\.\d\d\] better than direct use", text)
    assert "12.5 TFLOP for the search" in text
    assert "after 20 steps and 2 s (median of 3 seeds" in text


def test_the_best_source_of_each_target_is_named(page: str) -> None:
    text = Reader(page).text
    assert "endoplasmic reticulum: clathrin-coated pits (39.30 dB, 0.30 dB above microtubules)" in text


def test_a_study_without_a_matrix_has_no_such_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    assert report.matrix(read_params()) is None


def test_where_a_baseline_is_better_it_is_said(page: str) -> None:
    text = Reader(page).text
    assert "At high light classical SIM is better than fine-tuning: PSNR +1." in text
    assert "At low light classical SIM is better" not in text


def test_what_the_frames_contradict_has_a_column_that_is_empty_where_they_tell_nothing(page: str) -> None:
    (row, *_) = re.findall(r"<tr[^>]*baseline[^>]*>\s*<th[^>]*>wide-field.*?</tr>", page, flags=re.DOTALL)
    cells = [text_of(cell) for cell in re.findall(r"<td>.*?</td>", row, flags=re.DOTALL)]
    assert cells[-1] == "–"
    assert "–" not in cells[:-1]
    assert "contradicted (%) ↓" in Reader(page).text
    assert "contradicted share of the image that the raw frames contradict" in Reader(page).text


def test_children_stand_below_their_parent(page: str) -> None:
    family = page[page.index('id="family"') :]
    parent, child = family.index("sim-microtubules"), family.index("sim-ccps")
    assert "<ul>" in family[parent:child]


def test_too_few_cells_are_told_without_certainty(tmp_path: Path, findings: Any) -> None:
    few = findings(cells=2, seeds=1, ended=(0,))
    text = Reader(_page_of_a_study(tmp_path, few, cells=2)).text
    assert "Inconclusive; until it is settled: fine-tune for long" in text
    assert "Only one of them ran to its end" in text
    assert "dB from fine-tuning (test cells: 2, too few to say how sure)" in text
    assert not re.search(r"\d \[−?\d", text.split("In the registry")[0])


def test_a_study_in_a_folder_has_the_page_of_a_transfer(tmp_path: Path, findings: Any) -> None:
    bootstrap = Bootstrap(confidence=0.9, resamples=100, seed=1)
    (tmp_path / "study.json").write_text(
        findings(source="my_model", structure="spines").record().model_dump_json()
    )
    untested = Reader(study_page.study_page(tmp_path, "My <spines>", bootstrap)).text
    assert "My <spines>" in untested
    assert "Fine-tune, freezing intro-enc1, 60 steps" in untested
    assert "sealed test cells" not in untested.lower()
    (tmp_path / "details").mkdir()
    scores = _scores("spines", ["direct", "finetune", "scratch"], 5)
    scores.to_csv(tmp_path / "details" / "scores.csv", index=False)
    Figure(figsize=(8, 3)).savefig(tmp_path / "details" / "panel_low.png")
    reader = Reader(study_page.study_page(tmp_path, "My spines", bootstrap))
    assert reader.open == []
    assert "5 sealed test cells it comes to a PSNR of" in reader.text
    assert "First test cell at low light" in reader.text
    assert "90 % confidence intervals" in reader.text


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(BadInput, match=r"study\.json"):
        study_page.study_page(tmp_path, "x", Bootstrap(confidence=0.9, resamples=100, seed=1))
