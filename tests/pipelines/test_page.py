import contextlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipelines import report, sentences
from pipelines.params import Params, read_params
from pipelines.register import Registered
from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.gate import Check, Verdict
from sim_models.evaluation.metrics import METRICS
from sim_models.freeze import FreezeRange
from sim_models.normalise import Normaliser
from sim_models.restorer import Card, Restorer
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import Split
from sim_models.transfer.search import TrialRecord
from sim_models.transfer.study import Arm, ArmName, StudyRecord, choose

REPOSITORY = Path(__file__).resolve().parents[2]
QUALITY = {
    "widefield": 30.0,
    "bicubic": 30.5,
    "reconstruction": 36.0,
    "direct": 37.0,
    "finetune": 39.6,
    "scratch": 39.1,
}
"""PSNR of each arm at low light (dB); classical SIM gains most from light"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study in which fine-tuning won, on five test cells."""
    return _page_of_a_study(tmp_path_factory.mktemp("study"))


def _page_of_a_study(
    folder: Path, chosen: ArmName = "finetune", cells: int = 5, all_but_one_pruned: bool = False
) -> str:
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
            study = _study(key, params, chosen, all_but_one_pruned)
            (Path("transfers") / key).mkdir(parents=True)
            (Path("transfers") / key / "study.json").write_text(study.model_dump_json())
            arms = ["direct", "finetune", "scratch"]
            _write_results("transfers", key, transfer.structure, study.chosen, arms, cells)
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
    steps = pd.DataFrame({"step": range(50, 301, 50), "val_psnr": np.linspace(33, 39.2, 6)})
    curves = {each: steps.assign(arm=each) for each in arms if each != "direct"}
    if "finetune" in curves:
        curves["finetune"] = steps.assign(arm="finetune", val_psnr=np.linspace(38, 39.7, 6))
    Path("reports/curves").mkdir(exist_ok=True)
    pd.concat(curves.values()).to_csv(f"reports/curves/{key}.csv", index=False)
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


def _study(key: str, params: Params, chosen: ArmName, all_but_one_pruned: bool) -> StudyRecord:
    quality = {"direct": 36.79, "finetune": 39.2, "scratch": 39.1, chosen: 39.7}
    arms = tuple(
        Arm(
            name=name,
            val_psnr=quality[name],
            steps=steps,
            best_step=steps,
            seconds=steps / 5,
            frozen={"direct": "all", "finetune": "enc1-enc2", "scratch": "none"}[name],
            learning_rate=0.002 if steps else None,
        )
        for name, steps in (("direct", 0), ("finetune", 200), ("scratch", 600))
    )
    decided, why = choose(arms, 0.0)
    transfer = params.transfer(key)
    stages = tuple(params.model(transfer.source).recipe.in_full().network.build(9, 1, 2).stages())
    return StudyRecord(
        source=transfer.source,
        structure=transfer.structure,
        arms=arms,
        trials=tuple(_trial(number, stages, all_but_one_pruned) for number in range(8)),
        stages=stages,
        chosen=decided,
        why=why,
    )


def _trial(number: int, stages: tuple[str, ...], all_but_one_pruned: bool) -> TrialRecord:
    start, end = [(0, 0), (0, 6), (0, 2), (5, 7), (3, 6), (6, 7), (0, 5), (2, 3)][number]
    psnr = 38 + 0.9 * np.sin(5 * number)
    return TrialRecord(
        number=number,
        frozen=FreezeRange(start=start, end=end),
        label="none" if start == end else f"{stages[start]}-{stages[end - 1]}",
        learning_rate=2e-4 * 1.5**number,
        val_psnr=psnr,
        pruned=number > 0 if all_but_one_pruned else number in (3, 6),
        steps=40,
        seconds=4.0,
        trainable=1.0 if start == end else 0.3 ** (end - start),
        curve=((40, psnr),),
    )


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
    html = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


class Reader(HTMLParser):
    """What a browser makes of a page: open elements, ids, addresses, and the words a person reads."""

    NEVER_CLOSED = ("meta", "img", "br", "link")
    UNREAD = ("style", "svg")

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
    assert sum(address.startswith("data:image/png;base64,") for address in addresses) == 6
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import|<script", page)


def test_every_element_is_closed_and_every_link_leads_somewhere(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_the_same_results_give_the_same_page(page: str, tmp_path: Path) -> None:
    assert _page_of_a_study(tmp_path) == page


def test_a_decision_is_told_with_its_numbers(page: str) -> None:
    text = Reader(page).text
    assert "Fine-tuning is best on the validation cells at 39.70 dB (direct use −2.91 dB" in text
    assert re.search(r"5 sealed test cells it comes to a PSNR of \d\d\.\d\d dB \[", text)
    assert re.search(r"2\.\d\d dB \[2\.\d\d, 2\.\d\d\] better than direct use", text)
    assert "after a search of 8 short trials (320 steps, 32 s)" in text


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


def test_what_weakens_the_comparison_is_said(page: str) -> None:
    text = Reader(page).text
    assert "Training from scratch was best at its very last step" in text
    assert "The best is more than 0.05 dB above every other trial" in text


def test_children_stand_below_their_parent(page: str) -> None:
    family = page[page.index('id="family"') :]
    parent, child = family.index("sim-microtubules"), family.index("sim-ccps")
    assert "<ul>" in family[parent:child]


def test_direct_use_on_too_few_cells_is_told_without_certainty(tmp_path: Path) -> None:
    text = Reader(_page_of_a_study(tmp_path, chosen="direct", cells=2, all_but_one_pruned=True)).text
    assert "Use it as it is" in text
    assert "Only one of them ran to its end" in text
    assert "dB from fine-tuning (test cells: 2, too few to say how sure)" in text
    assert not re.search(r"\d \[−?\d", text.split("In the registry")[0])


def test_a_rival_that_has_hardly_learned_is_not_counted_as_a_victory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    params = read_params()
    study = _study(next(iter(params.transfers)), params, "finetune", all_but_one_pruned=False)
    direct, finetune, scratch = study.arms
    failed = scratch.model_copy(update={"val_psnr": direct.val_psnr - 1})
    (said,) = sentences.caveats(study.model_copy(update={"arms": (direct, finetune, failed)}))
    assert "below direct use, so it has hardly learned" in said


def test_the_step_at_which_a_fine_tune_passes_is_found() -> None:
    curves = pd.DataFrame(
        [("scratch", 10, 40.0), ("finetune", 20, 38.0), ("finetune", 40, 39.0), ("finetune", 60, 38.5)],
        columns=["arm", "step", "val_psnr"],
    )
    assert report.passes(curves, 38.9) == 40
    assert report.passes(curves, 39.5) is None
