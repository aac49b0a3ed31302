"""A whole study on toy fields: what it trains, keeps and says, and what it refuses before it trains anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sim_models.config import BadInput
from sim_models.evaluation.intervals import Bootstrap
from sim_models.field import Field
from sim_models.freeze import FreezeRange
from sim_models.recipe import Recipe
from sim_models.restorer import Restorer
from sim_models.samples import Samples, Share
from sim_models.sources import ome_fields
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import Split
from sim_models.training.job import Job, fields_of, lay_out
from sim_models.training.loop import DIVERGED_DB, State, TrainingSettings, mean_psnr
from sim_models.transfer import study as studying
from sim_models.transfer.search import SearchSettings, Stretch, TrialRecord
from sim_models.transfer.study import ARMS, Costs, Listener, Sources, Study, StudyRecord, StudySettings
from sim_models.transfer.trials import Trials

pytestmark = pytest.mark.timeout(600)
TRAIN = ("cell_000", "cell_001", "cell_002")
VALIDATION = ("cell_003", "cell_004", "cell_005")
SEARCH: dict[str, Any] = {
    "trials": 4,
    "together": 2,
    "rungs": (2,),
    "keep": 0.5,
    "learning_rates": (1e-3, 1e-2),
    "random_trials": 2,
    "seed": 5,
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, make_field: Callable[..., Field]) -> Prepared:
    """Three cells to learn from, three to choose, at two light levels."""
    folder = tmp_path_factory.mktemp("target") / "discs"
    for cell in range(7):
        for level, photons in {"low": 20.0, "high": 200.0}.items():
            ome_fields.write(folder, make_field(cell, level, photons))
    Prepared.seal(folder, "discs", Split(train=TRAIN, val=VALIDATION, test=("cell_006",)))
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def at_high_light(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"task": recipe.task.model_copy(update={"light": "brightest"})})


@pytest.fixture(scope="module")
def sources(
    tmp_path_factory: pytest.TempPathFactory, job: Job, at_high_light: Recipe, target: Prepared
) -> Sources:
    """One that gives the wide-field as it is, and before it one that adds noise to it."""
    folders = {}
    for name, std in (("noisy", 0.5), ("plain", 0.0)):
        bench = lay_out(job.model_copy(update={"recipe": at_high_light, "dataset": str(target.folder)}))
        torch.manual_seed(0)
        if std:
            for parameter in bench.network.parameters():
                nn.init.normal_(parameter, std=std)
        folders[name] = tmp_path_factory.mktemp("sources") / name
        Restorer(bench.job.recipe, bench.network, bench.normaliser, bench.card, bench.channels).save(
            folders[name]
        )
    return Sources(folders)


@pytest.fixture(scope="module")
def settings(training: TrainingSettings) -> StudySettings:
    return StudySettings(
        scratch=training.model_copy(update={"steps": 6}),
        finetune=training.model_copy(update={"steps": 4, "seed": 1}),
        search=SearchSettings(**SEARCH),
        finalists=2,
        seeds=(1, 2),
        cells=(1,),
        margin_db=0.1,
    )


class Heard:
    """Everything a study told of, and how many steps were trained for it."""

    def __init__(self) -> None:
        self.trials: list[TrialRecord] = []
        self.fits: list[tuple[str, Job, Stretch]] = []
        self.steps = 0

    def progress(self, _: Job, steps: int) -> None:
        self.steps += steps

    def study(self, settings: StudySettings, target: Prepared, kept: Path) -> Study:
        return Study(
            settings=settings,
            prepared=target,
            folder=str(target.folder),
            trials=Trials(kept, self.progress),
            bootstrap=Bootstrap(confidence=0.95, resamples=200, seed=7),
            listener=Listener(self.trials.append, lambda *fit: self.fits.append(fit)),
        )


class Done:
    """A study that was run."""

    def __init__(self, settings: StudySettings, target: Prepared, sources: Sources, root: Path) -> None:
        self.heard, self.out, self.kept = Heard(), root / "out", root / "kept"
        self.record = self.heard.study(settings, target, self.kept).run(sources, self.out)


@pytest.fixture(scope="module")
def done(
    ray_cluster: None,
    settings: StudySettings,
    target: Prepared,
    sources: Sources,
    tmp_path_factory: pytest.TempPathFactory,
) -> Done:
    return Done(settings, target, sources, tmp_path_factory.mktemp("study"))


def without_time(record: StudyRecord) -> Any:
    """The record but for what clocks said."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(each) for key, each in value.items() if "seconds" not in key}
        if isinstance(value, list):
            return [strip(each) for each in value]
        return value

    plain = strip(record.model_dump(mode="json"))
    for each in [*plain["finalists"], *plain["arms"], *plain["learning"]]:
        for repeat in each["repeats"]:
            repeat["curve"] = [look[:2] for look in repeat["curve"]]
    return plain


def test_the_better_of_two_sources_is_carried_over(done: Done, sources: Sources, target: Prepared) -> None:
    record = done.record
    assert record.source == "plain"
    assert [each.name for each in record.sources] == ["plain", "noisy"]
    for each in record.sources:
        model = Restorer.load(sources.folders[each.name])
        fields = fields_of(target, "val", model.recipe.task)
        validation = Samples(fields, model.recipe.task, model.normaliser)
        assert each.val_psnr == pytest.approx(
            mean_psnr(model.network, model.recipe.method, validation, Share())
        )
    assert Restorer.load(done.out / "direct").weights_sha256 == (
        Restorer.load(sources.folders["plain"]).weights_sha256
    )


def test_scores_are_of_the_light_levels_that_the_recipe_learns_from(done: Done) -> None:
    assert done.record.validation_cells == VALIDATION
    assert done.record.decision.cells == len(VALIDATION)
    for each in [*done.record.arms, *done.record.finalists, *done.record.learning]:
        assert all(len(repeat.psnrs) == len(VALIDATION) for repeat in each.repeats)


def test_arms_have_all_cells_and_every_seed(done: Done, settings: StudySettings) -> None:
    record = done.record
    assert {each.name for each in record.arms} == set(ARMS)
    for name, budget in (("finetune", 4), ("finetune_equal", 6), ("scratch", 6)):
        arm = record.arm(name)
        assert (arm.cells, arm.budget) == (len(TRAIN), budget)
        assert [repeat.seed for repeat in arm.repeats] == list(settings.seeds)
    direct = record.arm("direct")
    assert (direct.cells, direct.tflop, direct.budget, len(direct.repeats)) == (0, 0, 0, 1)
    assert record.arm("finetune").frozen == record.arm("finetune_equal").frozen
    assert record.arm("scratch").frozen == "none"
    assert record.chosen == record.decision.chosen
    assert {each.name for each in record.decision.comparisons} == set(ARMS)


def test_learning_curves_end_with_the_arms(done: Done) -> None:
    learning = done.record.learning
    assert [(each.name, each.cells) for each in learning] == [
        ("finetune", 1),
        ("finetune_equal", 1),
        ("scratch", 1),
        ("finetune", 3),
        ("finetune_equal", 3),
        ("scratch", 3),
    ]
    for each in learning[3:]:
        assert each == done.record.arm(each.name)


def test_the_winner_among_the_finalists_is_what_is_fine_tuned(done: Done) -> None:
    record = done.record
    finalists = {each.name: each for each in record.finalists}
    assert "none" in finalists
    assert len(finalists) == 2
    winner = finalists[record.range_decision.chosen]
    assert record.arm("finetune").repeats == winner.repeats
    assert (record.learning_rate, record.arm("finetune").frozen) == (winner.learning_rate, winner.frozen)
    tried = {(trial.label, trial.learning_rate) for trial in record.trials}
    assert {(each.name, each.learning_rate) for each in record.finalists} <= tried


def test_the_best_seed_is_kept_and_loads(done: Done, target: Prepared) -> None:
    for name in ("finetune", "finetune_equal", "scratch"):
        arm, restorer = done.record.arm(name), Restorer.load(done.out / name)
        best = max(arm.repeats, key=lambda repeat: repeat.val_psnr)
        assert done.record.kept_seed[name] == best.seed
        assert restorer.card.steps == best.best_step
        assert (restorer.card.parent is None) == (name == "scratch")
        validation = Samples(
            fields_of(target, "val", restorer.recipe.task), restorer.recipe.task, restorer.normaliser
        )
        assert mean_psnr(restorer.network, restorer.recipe.method, validation, Share()) == pytest.approx(
            best.val_psnr, abs=1e-3
        )


def test_everything_is_told_of(done: Done) -> None:
    assert sorted(done.heard.trials, key=lambda trial: trial.number) == list(done.record.trials)
    names = [name for name, _, _ in done.heard.fits]
    assert names.count("finetune n=1 seed 1") == 1
    assert {name.split(" n=")[0] for name in names} >= {"finetune", "finetune_equal", "scratch", "none"}
    assert all(job.frozen == done.record.frozen for name, job, _ in done.heard.fits if "finetune" in name)


def test_what_was_spent_is_what_was_trained(done: Done) -> None:
    """Steps by what they cost; nothing counts twice that was trained once."""
    record = done.record
    per_step = {each.label: each.tflop / each.steps for each in record.trials}
    assert record.spent_tflop["search"] == pytest.approx(
        sum(trial.steps * per_step[trial.label] for trial in record.trials)
    )
    steps: dict[tuple[Any, ...], int] = {}
    for trial in record.trials:
        steps[trial.label, trial.learning_rate, 1, 3, 4, "tuned"] = trial.steps
    for each in [*record.finalists, *record.learning, record.arm("finetune_equal")]:
        kind = "scratch" if each.name == "scratch" else "tuned"
        for repeat in each.repeats:
            key = each.frozen, each.learning_rate, repeat.seed, each.cells, each.budget, kind
            steps[key] = max(steps.get(key, 0), repeat.steps)
    assert done.heard.steps == sum(steps.values())
    assert sum(record.spent_tflop.values()) == pytest.approx(
        sum(count * per_step[label] for (label, *_), count in steps.items())
    )


def test_run_again_it_comes_to_the_same_record_and_trains_only_what_is_gone(
    done: Done, settings: StudySettings, target: Prepared, sources: Sources, tmp_path: Path
) -> None:
    anew = Done(settings, target, sources, tmp_path)
    assert without_time(anew.record) == without_time(done.record)
    assert anew.heard.steps == done.heard.steps
    heard = Heard()
    again = heard.study(settings, target, anew.kept).run(sources, tmp_path / "again")
    assert again == anew.record
    assert heard.steps == 0


def test_the_record_survives_json(done: Done) -> None:
    assert StudyRecord.model_validate_json(done.record.model_dump_json()) == done.record


def test_fewer_cells_are_part_of_more(settings: StudySettings, target: Prepared, job: Job) -> None:
    study = Heard().study(settings, target, Path("nowhere"))
    drawn = set()
    for seed in range(8):
        one, two = (set(study._with_seed(job, seed, size).cells or ()) for size in (1, 2))
        assert len(one) == 1
        assert len(two) == 2
        assert one < two < set(TRAIN)
        assert study._with_seed(job, seed, 3).cells is None
        drawn |= one
    assert drawn == set(TRAIN), "seeds draw different cells"


def test_more_cells_than_there_are_are_refused_before_anything_is_trained(
    settings: StudySettings, target: Prepared, sources: Sources, tmp_path: Path
) -> None:
    greedy = settings.model_copy(update={"cells": (1, 4)})
    told = "study.cells asks for 4 training cells, but discs has 3 to learn from; take fewer, or image more cells"
    with pytest.raises(BadInput, match=told):
        Heard().study(greedy, target, tmp_path / "kept").run(sources, tmp_path / "out")
    assert not (tmp_path / "kept").exists()


def test_all_cells_come_last_and_once(settings: StudySettings, target: Prepared) -> None:
    for asked, sizes in (((), [3]), ((2, 1), [1, 2, 3]), ((1, 3), [1, 3])):
        study = Heard().study(settings.model_copy(update={"cells": asked}), target, Path("nowhere"))
        assert study.sizes() == sizes


def test_a_search_in_which_everything_diverged_is_told_in_a_sentence(
    settings: StudySettings, target: Prepared, job: Job
) -> None:
    lost = TrialRecord(
        number=0,
        frozen=FreezeRange(start=0, end=0),
        label="none",
        learning_rate=1.0,
        val_psnr=DIVERGED_DB,
        pruned=False,
        steps=2,
        seconds=1.0,
        tflop=1.0,
        whole_tflop=2.0,
        trainable=1.0,
        curve=(),
    )
    with pytest.raises(BadInput, match=r"every trial of the search diverged; lower search.learning_rates"):
        Heard().study(settings, target, Path("nowhere")).choose_range(job, [lost], Costs())


def stretch(job: Job, psnr: float | None) -> Stretch:
    """What came of a job with two light levels: this quality everywhere, or nothing."""
    looked = DIVERGED_DB if psnr is None else psnr
    curve = [(2, {"val_psnr": looked, "seconds": 0.1})]
    state = State(weights={}, step=2, best_step=2, best_psnr=looked, curve=curve)
    return Stretch(state, trainable=1.0, psnrs=() if psnr is None else (psnr,) * 2 * len(VALIDATION))


def test_a_seed_that_diverged_ends_no_study(settings: StudySettings, target: Prepared, job: Job) -> None:
    heard = Heard()
    study = heard.study(settings, target, Path("nowhere"))
    jobs = [study._with_seed(job, seed, 3) for seed in (1, 2)]
    found = study._contender("finetune", jobs, [stretch(job, 30.0), stretch(job, None)], 3, Costs())
    assert (found.diverged, found.val_psnr) == ((2,), pytest.approx(30))
    assert len(heard.fits) == 2, "whoever listens hears of it as well"
    few = study._contender("finetune", jobs, [stretch(job, None)] * 2, 1, Costs())
    assert few.diverged == (1, 2)
    with pytest.raises(BadInput, match="finetune with all 3 cells diverged with every seed"):
        study._contender("finetune", jobs, [stretch(job, None)] * 2, 3, Costs())


def tried(number: int, end: int, psnr: float, tflop: float) -> TrialRecord:
    frozen = FreezeRange(start=0, end=end)
    return TrialRecord(
        number=number, frozen=frozen, label=str(end), learning_rate=1e-3, val_psnr=psnr, pruned=False, steps=4,
        seconds=1.0, tflop=tflop, whole_tflop=tflop, trainable=1.0, curve=(),
    )  # fmt: skip


def test_finalists_come_from_both_ends_of_what_is_good_enough() -> None:
    """The best, then the cheapest that may be as good; what is cheap and bad is no finalist before what is good."""
    trials = [
        tried(0, 0, 31.1, 9), tried(1, 1, 31.0, 8), tried(2, 2, 30.98, 6), tried(3, 3, 30.95, 4),
        tried(4, 4, 29.0, 1), tried(5, 5, 30.99, 9),
    ]  # fmt: skip
    ended = sorted(trials, key=lambda trial: -trial.val_psnr)
    assert [each.end for each in studying._ranges(ended, 0.1)] == [1, 3, 2, 5, 4]
    assert [each.end for each in studying._ranges(ended, 0.0)][:2] == [1, 5]
    assert studying._ranges(ended[:1], 0.1) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds must differ"),
        ({"finalists": 0}, "finalists"),
        ({"margin_db": -0.1}, "margin_db"),
        ({"search": {**SEARCH, "rungs": (2, 3)}}, "search.rungs has 3, which is no multiple of .* \\(2\\)"),
    ],
)
def test_settings_that_make_no_study_are_refused(
    settings: StudySettings, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        StudySettings(**(settings.model_dump() | changes))
