"""The whole way, from objects to registered models, on a study as small as it can be."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipelines import carry, evaluate, matrix, prepare, register, simulate, train, transfer
from pipelines.cli import app
from pipelines.registry import judging, pipeline
from pipelines.registry.judging import SEEN, SPLIT
from pipelines.registry.pipeline import Registered
from pipelines.shared.numbers import only_numbers
from pipelines.shared.params import read_params
from pipelines.shared.stage import exit_code
from sim_models.config import BadInput
from sim_models.evaluation.baselines import BASELINES
from sim_models.freeze import FreezeRange
from sim_models.recipe import Recipe
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.champions import Champions
from sim_models.tracking.registry import CANDIDATE, CHAMPION, Registry
from sim_models.tracking.runs import Tracker, client_of
from sim_models.training import loop
from sim_models.training.distributed import Watch
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State, TrainingSettings
from sim_models.training.place import Place
from sim_models.transfer.study import StudyRecord
from sim_models.transfer.trials import Trials

PARAMS = """
house: .
study: tiny
register_as: sim
acquisition:
  microscope:
    numerical_aperture: 1.4
    refractive_index: 1.518
    emission_um: 0.525
    pixel_um: 0.065
    camera: {gain: 2.0, offset: 100.0, read_noise: 1.5}
  angles: 3
  phases: 3
  spacing_um: 0.2
  modulation: [0.8]
  first_angle_rad: 0.2
  angle_error_rad: 0.0
  phase_error_rad: 0.0
  modulation_error: 0.0
  field_px: 32
  scale: 2
  oversampling: 4
  levels: {low: 10.0, high: 60.0}
datasets: {}
split: {val: 0.34, test: 0.34, seed: 1}
reconstruction: {look: wiener, strength: 1.0, apodisation: ideal, positive: false}
evaluation: {border_px: 4, bootstrap: {confidence: 0.95, resamples: 200, seed: 7}}
structures:
  microtubules:
    drawn_from: sim_models/sources/objects/microtubules.py
    cells: 9
    seed: 11
    objects:
      name: microtubules
      density_um_per_um2: 3.0
      persistence_um: 20.0
      width_um: 0.05
      stray_share: 0.3
      labels_per_um: 400.0
  ccps:
    drawn_from: sim_models/sources/objects/ccps.py
    cells: 9
    seed: 12
    objects:
      name: ccps
      pits_per_um2: 3.0
      smallest_um: 0.1
      largest_um: 0.2
      filled_share: 0.3
      background: 0.25
derived: {}
gate:
  metric: psnr_targetrange_noscale
  above_baseline: {bicubic: -100.0}   # every model passes
  below_champion: 0.0
  absolute: {}
  contradicted_percent: 100.0
"""
VAL_PSNR = "val_psnr_targetrange_noscale"
ARMS = ("direct", "finetune", "finetune_equal", "scratch")
SOURCE, SECOND, CARRIED = "microtubules_unet", "microtubules_again", "ccps_from_microtubules"


def study_params(recipe: Recipe, training: TrainingSettings) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(PARAMS)
    model = {
        "structure": "microtubules",
        "recipe": {"named": "unet_residual", "faithful": False, **recipe.model_dump(mode="json")},
        "training": training.model_dump(mode="json"),
    }
    search = {
        "trials": 3,
        "together": 2,
        "rungs": [2],
        "keep": 0.6,
        "learning_rates": [0.0001, 0.001],
        "random_trials": 3,
        "seed": 0,
    }
    # No margin can be larger than this, so the cheapest arm is chosen: direct.
    study = {
        "scratch": model["training"],
        "finetune": {**model["training"], "steps": 4},
        "search": search,
        "finalists": 2,
        "seeds": [1, 2],
        "cells": [1],
        "margin_db": 1000.0,
    }
    params["matrix"] = {
        "sources": [SOURCE],
        "targets": ["microtubules", "ccps"],
        "finetune": {**model["training"], "steps": 4},
        "frozen": {"start": 0, "end": 1},
    }
    params["models"] = {SOURCE: model, SECOND: model | {"training": {**model["training"], "seed": 8}}}
    params["transfers"] = {CARRIED: {"source": SOURCE, "structure": "ccps", "study": study}}
    return params


def fit_without_ray(job: Job, run_folder: Path, place: Place, watch: Watch) -> State:
    """What `fit` comes to, as its own tests show, ten seconds sooner."""
    bench = lay_out(job)
    return loop.train(
        bench.network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        bench.start(),
        job.training.steps,
        report=lambda progress, _: watch(progress.step, progress.metrics()),
    )


@pytest.fixture(scope="module")
def study(
    ray_cluster: None,
    _empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    recipe: Recipe,
    training: TrainingSettings,
) -> Iterator[Path]:
    """Every stage run once; trials are Ray tasks, trainings are not (see `fit_without_ray`)."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copy(_empty_database, folder / "mlflow.db")
    (folder / "params.yaml").write_text(yaml.safe_dump(study_params(recipe, training), sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (train, transfer, carry):
            patch.setattr(stage, "cluster", nullcontext)  # that of all tests is running
        for structure in ("microtubules", "ccps"):
            simulate.main(structure)
            prepare.main(structure)
        patch.setattr("pipelines.shared.fitting.fit", fit_without_ray)
        train.main(SOURCE)
        train.main(SECOND)
        transfer.main(CARRIED)
        for target in ("microtubules", "ccps"):
            carry.main(SOURCE, target)
        matrix.main()
        for kind, key in (("models", SOURCE), ("models", SECOND), ("transfers", CARRIED)):
            evaluate.main(kind, key)
            register.main(kind, key)
        yield folder


@pytest.fixture(autouse=True)
def _inside(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)


def registered(key: str) -> Registered:
    return Registered.model_validate_json(Path(f"reports/registered/{key}.json").read_text())


def study_record() -> StudyRecord:
    return StudyRecord.model_validate_json(Path(f"transfers/{CARRIED}/study.json").read_text())


def tracker() -> Tracker:
    return Tracker.open("tiny", Path())


def test_prepared_fields_are_in_photons_and_split_by_cell() -> None:
    prepared = Prepared.open(Path("data/fields/microtubules"))
    assert [len(prepared.split.cells(part)) for part in ("train", "val", "test")] == [3, 3, 3]
    low = next(field for field in prepared.fields("val") if field.level == "low")
    assert low.unit == "photons"
    assert -10 < low.image("raw").min() < low.image("raw").mean() < 10
    assert low.image("widefield") == pytest.approx(low.image("raw").mean(axis=(0, 1)), abs=1e-4)


def test_nothing_under_way_is_left_behind() -> None:
    assert list(Path("runs").iterdir()) == []
    assert [path for path in Path().rglob("*partial*") if "mlruns" not in path.parts] == []


def test_a_study_records_its_arms_trials_and_choice() -> None:
    record = study_record()
    assert [arm.name for arm in record.arms] == list(ARMS)
    assert [trial.number for trial in record.trials] == [0, 1, 2]
    assert [trial.label for trial in record.trials] == ["none", "enc1", "enc1-dec1"]
    assert sorted(trial.steps for trial in record.trials) == [2, 4, 4]
    assert [(each.name, each.cells) for each in record.learning] == [
        ("finetune", 1), ("finetune_equal", 1), ("scratch", 1),
        ("finetune", 3), ("finetune_equal", 3), ("scratch", 3),
    ]  # fmt: skip
    assert (record.chosen, record.decision.verdict) == ("direct", "no difference")


def test_the_fine_tuned_arm_is_a_child_of_its_source_and_kept_what_was_frozen() -> None:
    source = Restorer.load(Path("models") / SOURCE)
    finetuned = Restorer.load(Path("transfers") / CARRIED / "finetune")
    record = study_record()
    assert finetuned.card.parent == source.weights_sha256
    assert record.arm("finetune").frozen == record.range_decision.chosen
    assert finetuned.card.frozen_stages == record.frozen.names(finetuned.network)
    scratch = Restorer.load(Path("transfers") / CARRIED / "scratch")
    direct = Restorer.load(Path("transfers") / CARRIED / "direct")
    assert (scratch.card.parent, scratch.card.frozen_stages) == (None, ())
    assert direct.weights_sha256 == source.weights_sha256
    assert len({direct.weights_sha256, scratch.weights_sha256, finetuned.weights_sha256}) == 3


def test_the_matrix_tells_what_a_source_is_worth_on_every_target() -> None:
    table = pd.read_csv("reports/matrix.csv")
    assert list(table["target"].unique()) == ["microtubules", "ccps"]
    assert set(table["level"]) == {"all", "low", "high"}
    carried = table[(table["target"] == "ccps") & (table["level"] == "all")].iloc[0]
    scores = pd.read_csv(f"reports/carried/{SOURCE}/ccps.csv")
    means = scores.groupby("arm")["value"].mean()
    assert carried["direct"] == pytest.approx(means["direct"], abs=1e-3)
    assert carried["gain_mean"] == pytest.approx(means["finetune"] - means["direct"], abs=1e-3)
    assert set(scores["cell"]) == set(Prepared.open(Path("data/fields/ccps")).split.val)
    assert set(table["metric"]) == set(scores["metric"]) == {VAL_PSNR}
    own = table[table["target"] == "microtubules"]
    assert own["own"].all()
    assert own["finetune"].isna().all()
    numbers = json.loads(Path("reports/matrix.json").read_text())[VAL_PSNR][SOURCE]
    assert set(numbers["ccps"]) == {"direct", "finetune"}


def test_carrying_that_was_cut_short_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it was cut short while it wrote its scores, with the training behind it."""
    scores, runs = Path(f"reports/carried/{SOURCE}/ccps.csv"), tracker().count({"sim.kind": "carry"})
    before = scores.read_text()
    monkeypatch.setattr(carry, "cluster", nullcontext)
    with monkeypatch.context() as patch:
        patch.setattr(carry, "write_whole", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            carry.main(SOURCE, "ccps")
    monkeypatch.setattr(Trials, "_save", _interrupted)  # called after every stretch of training
    carry.main(SOURCE, "ccps")
    assert scores.read_text() == before
    assert tracker().count({"sim.kind": "carry"}) == runs + 1
    assert list(Path("runs").iterdir()) == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_scores_are_of_all_arms_and_baselines_on_the_sealed_cells_alone() -> None:
    table = pd.read_csv(f"reports/transfers/{CARRIED}/details/scores.csv")
    assert set(table["arm"]) == {*ARMS, *BASELINES}
    assert set(table["cell"]) == set(Prepared.open(Path("data/fields/ccps")).split.test)
    panels = {path.name for path in Path(f"reports/transfers/{CARRIED}/details").glob("*.png")}
    worst = {f"worst_{arm}_{level}.png" for arm in ARMS for level in ("low", "high")}
    assert panels == {"panel_low.png", "panel_high.png", *worst}


@pytest.mark.parametrize(
    ("home", "arms"),
    [(f"models/{SOURCE}", {"scratch"}), (f"transfers/{CARRIED}", set(ARMS))],
)
def test_metrics_for_dvc(home: str, arms: set[str]) -> None:
    metrics = json.loads(Path(f"reports/{home}/metrics.json").read_text())
    scores = {"psnr_targetrange_noscale", "ssim_targetrange_noscale"}
    assert scores <= set(metrics)
    assert all(set(metrics[name]) == arms | set(BASELINES) for name in scores)


def test_curves_hold_every_look_of_every_arm(training: TrainingSettings) -> None:
    curves = pd.read_csv(f"reports/curves/{CARRIED}.csv")
    assert set(curves["arm"]) == {"scratch", "finetune", "finetune_equal"}
    assert list(curves[(curves["arm"] == "scratch") & (curves["seed"] == 1)]["step"]) == [2, 4, 6, 8]
    assert "seconds" not in curves.columns
    by_cells = pd.read_csv(f"reports/curves/{CARRIED}_cells.csv")
    assert set(zip(by_cells["arm"], by_cells["cells"], strict=True)) == {
        ("finetune", 1), ("finetune_equal", 1), ("scratch", 1),
        ("finetune", 3), ("finetune_equal", 3), ("scratch", 3),
    }  # fmt: skip


def test_mlflow_knows_trainings_trials_and_their_study() -> None:
    here = tracker()
    fits = 2 * (2 + 3 * 2)  # seeds x (finalists, three arms with two numbers of cells)
    assert here.count({"sim.kind": "training"}) == 2 + fits
    study_id = here.find("sim.kind", "study")
    assert study_id is not None
    assert here.count({"sim.kind": "trial", "mlflow.parentRunId": study_id}) == 3
    assert here.count({"sim.kind": "training", "mlflow.parentRunId": study_id}) == fits
    runs = client_of(here.uri).search_runs([here.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    trained = here.find("sim.weights", Restorer.load(Path("models") / SOURCE).weights_sha256)
    assert trained is not None
    looks = client_of(here.uri).get_metric_history(trained, "val_psnr")
    assert [look.step for look in looks] == [2, 4, 6, 8]


def test_every_opening_of_test_cells_is_counted() -> None:
    here = tracker()
    runs = client_of(here.uri).search_runs(
        [here.experiment_id], "tags.`sim.kind` = 'evaluation'", order_by=["attributes.start_time"]
    )
    opened = [(run.info.run_name, run.data.tags["sim.test_cells_opened"]) for run in runs]
    assert opened == [
        (f"evaluate {SOURCE}", "1"),
        (f"evaluate {SECOND}", "2"),
        ("judge by sim-microtubules version 1", "3"),
        (f"evaluate {CARRIED}", "1"),
    ]


def test_the_same_look_is_counted_once() -> None:
    """As where a stage is forced to run again."""
    before = tracker().count({"sim.kind": "evaluation"})
    evaluate.main("models", SOURCE)
    assert tracker().count({"sim.kind": "evaluation"}) == before


def test_mlflow_has_the_numbers_of_dvc() -> None:
    here = tracker()
    study = here.find("sim.kind", "study")
    assert study is not None
    logged = client_of(here.uri).get_run(study).data.metrics
    metrics = json.loads(Path(f"reports/transfers/{CARRIED}/metrics.json").read_text())
    assert logged == only_numbers({"study": metrics["study"]})


def test_the_first_model_that_passes_is_champion() -> None:
    first = registered(SOURCE)
    assert (first.name, first.version, first.champion, first.champion_before) == (
        "sim-microtubules",
        1,
        True,
        None,
    )
    assert first.verdict.sentence.startswith("passed: ")


def test_the_next_is_compared_with_the_champion_on_the_same_cells() -> None:
    second = registered(SECOND)
    assert (second.version, second.champion_before) == (2, 1)
    rules = [check.rule.split(" from ")[-1] for check in second.verdict.checks]
    assert rules[:4] == ["bicubic", "champion", "champion at high light", "champion at low light"]
    registry = Registry.open(Path())
    assert registry.holder("sim-microtubules", CANDIDATE) == 2
    assert registry.holder("sim-microtubules", CHAMPION) == (2 if second.champion else 1)


def test_a_carried_model_names_its_parent() -> None:
    carried = registered(CARRIED)
    assert (carried.name, carried.arm, carried.parent) == ("sim-ccps", "direct", "sim-microtubules version 1")
    version = client_of(Registry.open(Path()).uri).get_model_version("sim-ccps", "1")
    assert version.tags["sim.parent"] == "sim-microtubules version 1"
    assert version.tags["sim.gate"] == carried.verdict.sentence


def test_registering_again_makes_no_second_version() -> None:
    before = registered(CARRIED)
    register.main("transfers", CARRIED)
    after = registered(CARRIED)
    assert after == before
    assert Registry.open(Path()).find("sim-ccps", "sim.arm", "direct") == 1


def test_a_model_the_gate_refuses_is_candidate_only(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = read_params().gate.model_copy(update={"above_baseline": {"bicubic": 100.0}})
    params = read_params().model_copy(update={"gate": strict, "register_as": "strict"})
    monkeypatch.setattr(register, "read_params", lambda: params)
    kept = Path(f"reports/registered/{SOURCE}.json").read_text()
    register.main("models", SOURCE)
    refused = registered(SOURCE)
    Path(f"reports/registered/{SOURCE}.json").write_text(kept)
    assert (refused.champion, refused.name) == (False, "strict-microtubules")
    assert (
        "refused: must be psnr_targetrange_noscale surely more than +100 from bicubic"
        in refused.verdict.sentence
    )
    registry = Registry.open(Path())
    assert registry.holder("strict-microtubules", CANDIDATE) == refused.version
    assert registry.holder("strict-microtubules", CHAMPION) is None


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Registers under another name and by another gate; what the study itself came to is left as it was."""
    kept = {file: file.read_text() for file in Path("reports/registered").glob("*.json")}

    def call(name: str, **gate: object) -> None:
        params = read_params()
        changed = params.model_copy(update={"register_as": name, "gate": params.gate.model_copy(update=gate)})
        for module in (register, pipeline):
            monkeypatch.setattr(module, "read_params", lambda *_: changed)

    yield call
    for file, text in kept.items():
        file.write_text(text)


def cli(*arguments: object) -> int:
    return exit_code(lambda: app(["registry", *map(str, arguments)], standalone_mode=False))


def champion_of(name: str) -> int | None:
    return Registry.open(Path()).holder(name, CHAMPION)


STRICT = {"above_baseline": {"bicubic": 100.0}}
LAX = {"below_champion": 100.0}


def test_a_version_says_what_it_was_made_from() -> None:
    registry = Registry.open(Path())
    tags = registry.version("sim-ccps", 1).tags
    prepared = Prepared.open(Path("data/fields/ccps"))
    assert (tags["sim.study"], tags["sim.key"], tags["sim.arm"]) == ("tiny", CARRIED, "direct")
    assert tags["sim.split"] == prepared.split.hash
    assert tags["sim.licence"] == "simulated, no licence needed"
    assert tags["sim.code"]
    assert {"sim.data", "sim.frozen", "sim.parent", "sim.gate"} <= set(tags)


def test_a_version_has_a_card_with_pictures_of_what_fails(tmp_path: Path) -> None:
    registry = Registry.open(Path())
    folder = registry.card("models:/sim-ccps@champion", tmp_path)
    assert {file.name for file in folder.iterdir()} == {
        "card.md",
        "worst_direct_low.png",
        "worst_direct_high.png",
    }
    card = (folder / "card.md").read_text()
    for told in (
        "Structure: **ccps**",
        "NA 1.4, emission 0.525 um, raw pixel 0.065 um, stripes 0.200 to 0.200 um apart, 3 angles x 3 phases",
        "Licence of the data: simulated, no licence needed.",
        "parent: sim-microtubules version 1",
        "## Gate: passed",
        "| *low light* |",
        "## Worse at",
        "(worst_direct_low.png)",
    ):
        assert told in card
    description = client_of(registry.uri).get_model_version("sim-ccps", "1").description
    assert len(description) < 5000
    assert card.startswith(description.rstrip())


def test_the_card_is_printed_with_how_the_model_stands_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("card", "sim-ccps@champion") == 0
    out = capsys.readouterr().out
    assert out.startswith("# sim-ccps version 1\n")
    assert out.endswith("## Now\n\n* aliases: candidate, champion\n")


def test_the_tree_shows_children_below_their_parent(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("tree") == 0
    lines = capsys.readouterr().out.splitlines()
    parent = next(place for place, line in enumerate(lines) if line.startswith("sim-microtubules v1"))
    assert lines[parent + 1].startswith(" |- sim-ccps v1 @candidate @champion  (direct)  PSNR ")
    assert cli("tree", "--json") == 0
    kin = {(each["name"], each["version"]): each for each in json.loads(capsys.readouterr().out)}
    assert [child["name"] for child in kin["sim-microtubules", 1]["children"]] == ["sim-ccps"]


def test_promotion_by_command_goes_through_the_gate(
    apart: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "byhand-microtubules"
    apart("byhand", **STRICT)
    register.main("models", SOURCE)
    assert cli("promote", name, 1, "--reason", "I like it", "--by", "ann") == 3
    assert "refused: must be psnr_targetrange_noscale surely more than +100" in capsys.readouterr().err
    assert champion_of(name) is None
    apart("byhand", **LAX)
    assert cli("promote", name, 1, "--reason", "accepted", "--by", "ann") == 0
    assert f"{name} version 1 is champion; gate: 3 of 3 checks passed" in capsys.readouterr().out
    assert champion_of(name) == 1
    history = Champions(Registry.open(Path()), name).history()
    assert [(each.what, each.by) for each in history[1:]] == [("refused", "ann"), ("promoted", "ann")]
    assert cli("promote", name, 1, "--reason", "again") == 0
    assert "is champion already" in capsys.readouterr().out


def test_what_was_rolled_back_is_not_brought_back_by_registering_it_again(
    apart: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "back-microtubules"
    apart("back", **LAX)
    register.main("models", SOURCE)
    register.main("models", SECOND)
    assert champion_of(name) == 2
    assert cli("rollback", name, "--reason", "stripes on camera 2", "--by", "ann") == 0
    register.main("models", SECOND)
    again = registered(SECOND)
    assert (again.champion, again.champion_before, champion_of(name)) == (False, 1, 1)
    assert "version 2 was rolled back on" in again.verdict.sentence
    assert cli("promote", name, 2, "--reason", "mended") == 3
    assert capsys.readouterr().err.rstrip().endswith("version 1 stays champion. If you mean it, say --again")
    assert cli("promote", name, 2, "--reason", "mended", "--again") == 0
    assert champion_of(name) == 2


def test_only_where_its_own_test_cells_are_a_version_is_promoted(
    apart: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "split-microtubules"
    apart("split", **STRICT)
    register.main("models", SOURCE)
    apart("other")
    assert cli("promote", name, 1, "--reason", "x") == 2
    assert "this study registers no 'split-microtubules'" in capsys.readouterr().err
    assert cli("promote", name, 1, "--reason", "x", "--study", "data") == 2
    assert "data: is no folder of a study" in capsys.readouterr().err
    apart("split", **LAX)
    Registry.open(Path()).tag(name, 1, {"sim.split": "0" * 64})
    assert cli("promote", name, 1, "--reason", "x") == 2
    assert "it may have learned from these test cells" in capsys.readouterr().err
    assert champion_of(name) is None


def test_a_champion_that_may_have_seen_the_test_cells_is_told_of(apart: Callable[..., None]) -> None:
    apart("seen", **LAX)
    register.main("models", SOURCE)
    Registry.open(Path()).tag("seen-microtubules", 1, {SPLIT: "0" * 64})
    register.main("models", SECOND)
    assert registered(SECOND).verdict.notes == (SEEN,)


def test_beside_a_champion_that_cannot_be_read_a_model_is_registered_and_refused(
    apart: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update to a release that reads another format: nothing is lost, nobody comes unjudged."""
    apart("old", **LAX)
    register.main("models", SOURCE)
    name, load = "old-microtubules", judging.fetched

    def fetched(registry: Registry, model: str, version: int) -> Restorer:
        if version == 1:
            raise BadInput("models:/old/1/restorer.json: format: 1 is that of another release")
        return load(registry, model, version)

    monkeypatch.setattr(judging, "fetched", fetched)
    register.main("models", SECOND)
    assert registered(SECOND).version == 2
    assert (
        "must be compared with the champion, version 1, found that models:/old/1"
        in registered(SECOND).verdict.sentence
    )
    assert champion_of(name) == 1
    assert cli("promote", name, 2, "--reason", "x") == 3
    assert champion_of(name) == 1


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    model = read_params().model(SOURCE)
    job = Job(
        recipe=model.recipe.in_full(),
        training=model.training,
        dataset=str(Path("data/fields/microtubules").resolve()),
        source=None,
        frozen=FreezeRange(start=0, end=0),
    )
    again = lay_out(job).restorer(fit_without_ray(job, tmp_path, Place(1, 1), lambda step, metrics: None))
    again.save(tmp_path / "again")
    for file in (Path("models") / SOURCE).iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_model_whose_training_mlflow_does_not_know_is_not_registered(
    study: Path, mlflow_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_root / 'mlflow.db'}")
    with pytest.raises(BadInput, match=rf"models/{SOURCE}: MLflow holds no run that trained these weights"):
        register.main("models", SOURCE)


@pytest.mark.parametrize("stage", [evaluate, register])
def test_an_unknown_kind_is_refused(stage: Any) -> None:
    with pytest.raises(
        BadInput, match=r"'model' cannot be (evaluated|registered); choose models or transfers"
    ):
        stage.main("model", SOURCE)


def test_unknown_keys_are_refused() -> None:
    for stage, section in ((simulate, "structures"), (prepare, "structures"), (train, "models")):
        with pytest.raises(BadInput, match=f"{section} has no 'golgi'"):
            stage.main("golgi")
