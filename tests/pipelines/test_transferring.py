"""`sim-models transfer`: a person's own stacks in, a decision out; interrupted, refused, or done already."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml

from pipelines.cli import app
from pipelines.onboarding.bringing import bring_in
from pipelines.onboarding.cells import survey
from pipelines.onboarding.reading import Reading, declared_for
from pipelines.own_files.stacks import Stated
from pipelines.own_study import choosing, transferring
from pipelines.own_study.choosing import Target
from pipelines.own_study.estimating import plan
from pipelines.own_study.out_folder import Place
from pipelines.own_study.study_settings import DEFAULTS, Changes, fitted, read_settings
from pipelines.registry.own import OwnStudy, TransferRecord
from pipelines.registry.registering import Candidate
from pipelines.shared.brought import Brought
from pipelines.shared.stage import REFUSED, digest, exit_code
from sim_models.config import BadInput
from sim_models.field import Field, FrameOrder
from sim_models.restorer import Restorer
from sim_models.samples import Share
from sim_models.sources import ome_fields
from sim_models.sources.layouts.level_folders import Settings as Layout
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import Split, split_by_cell
from sim_models.tracking.registry import Registry
from sim_models.tracking.runs import client_of
from sim_models.training.job import Job, lay_out
from sim_models.transfer.study import ARMS, StudyRecord
from sim_models.transfer.trials import Trials

Run = Callable[..., Any]
TINY = ("--steps", "10", "--finetune-steps", "4", "--trials", "3", "--seeds", "1", "--cells", "1")
OWN = ("--licence", "own")
OPTICS = Stated(0.065, 1.4, 0.525, 100.0, 2.0, None)


# ---- stacks as a person has them


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory, take: Callable[[int], Field]) -> Path:
    """Four cells at two light levels, in plain TIFFs that say nothing of optics; references of another brightness."""
    folder = tmp_path_factory.mktemp("own") / "spindles"
    for cell in range(4):
        field = take(cell)
        raw = field.image("raw")
        dim = np.random.default_rng(cell).binomial(np.maximum(raw.astype(int) - 100, 0), 0.5) + 100
        _write(folder / "bright" / f"c{cell}.tif", raw)
        _write(folder / "dim" / f"c{cell}.tif", dim.astype(np.uint16))
        _write(folder / "reference" / f"c{cell}.tif", (7 * field.image("reference") + 30).astype(np.float32))
    return folder


def _write(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image.reshape(-1, *image.shape[-2:]), photometric="minisblack")


@pytest.fixture
def mine(stacks: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(stacks, tmp_path / "spindles")
    return tmp_path / "spindles"


def read_in(folder: Path, into: Path, stated: Stated = OPTICS) -> Brought:
    settings, files = read_settings(None, Changes()), survey(Layout(name="level_folders", folder=folder))
    declared = declared_for(files, (3, 3), FrameOrder.ANGLE_MAJOR)
    reading = Reading(declared, stated, settings.reconstruction)
    deal = partial(split_by_cell, settings=settings.split, dataset=str(folder))
    return bring_in(files, folder.name, reading, deal, into, lambda _done, _all: None)


def test_stacks_become_prepared_fields(stacks: Path, tmp_path: Path) -> None:
    """The reference is brought to the brightness of each level, whatever it was scaled by."""
    assert read_in(stacks, tmp_path / "fields").left_out == {}
    prepared = Prepared.open(tmp_path / "fields")
    assert (prepared.structure, len(prepared.split.train)) == ("spindles", 2)
    bright, dim = prepared.fields("val")
    assert bright.unit == "photons"
    assert {"raw", "widefield", "reference", "reconstruction"} == set(bright.images)
    for field in (bright, dim):
        assert field.image("reference").mean() == pytest.approx(field.image("widefield").mean(), rel=1e-3)
    ratio = bright.image("reference").std() / dim.image("reference").std()
    assert ratio == pytest.approx(2, rel=0.1)


def test_cells_that_cannot_be_used_are_left_out_and_named(mine: Path, tmp_path: Path) -> None:
    stack = tifffile.imread(mine / "bright" / "c1.tif")
    _write(mine / "bright" / "c1.tif", np.repeat(stack[:1], 9, axis=0))
    brought = read_in(mine, tmp_path / "fields")
    assert list(brought.left_out) == ["c1"]
    assert "copies of one image" in brought.left_out["c1"]
    assert not (tmp_path / "fields" / "c1").exists()
    too_bright = np.where(stack > np.percentile(stack, 90), 65535, stack).astype(stack.dtype)
    _write(mine / "dim" / "c2.tif", too_bright)
    with pytest.raises(BadInput, match=r"2 of 4 cells can be used.*c1: .*copies.*c2: .*is saturated"):
        read_in(mine, tmp_path / "fields")


def test_references_that_lie_otherwise_than_the_frames_are_refused(mine: Path, tmp_path: Path) -> None:
    """As where raw frames are MRC, bottom-up, and references TIFF."""
    for path in (mine / "reference").iterdir():
        _write(path, tifffile.imread(path)[..., ::-1, :])
    with pytest.raises(
        BadInput, match=r"lies mirrored in y against the raw frames of c0 .*store raw frames and"
    ):
        read_in(mine, tmp_path / "fields")
    assert not (tmp_path / "fields").exists()


def test_frames_without_stripes_are_left_out(mine: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for level in ("bright", "dim"):
        _write(mine / level / "c3.tif", noise.poisson(500, (9, 64, 64)).astype(np.uint16))
    brought = read_in(mine, tmp_path / "fields")
    assert "no stripes found" in brought.left_out["c3"]


def test_without_references_the_brightest_level_serves(mine: Path, tmp_path: Path) -> None:
    shutil.rmtree(mine / "reference")
    brought = read_in(mine, tmp_path / "fields")
    assert "the classical SIM of its brightest level (bright) is the reference" in brought.notes[0]
    fields = Prepared.open(tmp_path / "fields").fields("train")
    assert {field.level for field in fields} == {"dim"}
    assert all("reference" in field.images for field in fields)


# ---- what is refused: one sentence, exit code 2, nothing written


def _without_partner(folder: Path) -> None:
    (folder / "reference" / "c2.tif").unlink()


def _wrong_size(folder: Path) -> None:
    _write(folder / "reference" / "c0.tif", np.ones((64, 64), np.float32))


def _loose(folder: Path) -> None:
    for path in (folder / "bright").iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(folder / "bright")
    shutil.rmtree(folder / "dim")
    shutil.rmtree(folder / "reference")


def _one_level(folder: Path) -> None:
    shutil.rmtree(folder / "reference")
    shutil.rmtree(folder / "dim")


def _few_frames(folder: Path) -> None:
    _write(folder / "bright" / "c0.tif", np.ones((7, 64, 64), np.uint16))


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (_without_partner, (), "reference: has no file of c2"),
        (
            _wrong_size,
            (),
            "c0.tif: is 64 x 64, but the raw frames of c0 are 64 x 64, so a reference has 128 x 128",
        ),
        (_loose, (), "holds no raw stacks; expected spindles/<light level>/<cell>.tif"),
        (_one_level, (), "has one light level (bright) and no folder 'reference'"),
        (_few_frames, (), "c0.tif: holds 7 x 64 x 64"),
        (None, ("--source", "nowhere"), "--source nowhere: is no folder of a restorer"),
        (None, ("--source", "models:/none@champion"), "there is no registry in this folder"),
        (None, ("--steps", "0"), "--steps is 0; give a whole number"),
        (None, ("--cells", "1,two"), "--cells is '1,two'"),
        (None, ("--settings", "no.yaml"), "no.yaml: not found"),
        (None, ("--register", "a/b"), "a name holds no slash"),
        (None, ("--out", "spindles/out"), "lies in the folder of the stacks"),
        (None, ("--out", "full"), "full: holds thesis.txt and more"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    run: Run, mine: Path, restorer: Restorer, tmp_path: Path, spoil: Any, options: Any, said: str
) -> None:
    restorer.save(tmp_path / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    if spoil is not None:
        spoil(mine)
    before = sorted(path for path in tmp_path.rglob("*"))
    given = {
        "--source": "model",
        "--target": "spindles",
        "--out": "out",
        "--na": "1.4",
        "--emission-um": "0.525",
    }
    given |= {"--pixel-um": "0.065"} | dict([options] if options else [])
    done = run("transfer", *(part for option in given.items() for part in option))
    assert (done.code, done.out) == (2, ""), done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_optics_have_to_be_said(run: Run, mine: Path, restorer: Restorer, tmp_path: Path) -> None:
    restorer.save(tmp_path / "model")
    done = run("transfer", "--source", "model", "--target", mine, "--out", "out")
    assert (done.code, (tmp_path / "out").exists()) == (2, False)
    assert "does not say all of its optics; give --pixel-um" in done.err


def test_two_files_of_one_cell_are_refused(mine: Path) -> None:
    shutil.copy(mine / "dim" / "c0.tif", mine / "dim" / "c0.ome.tif")
    with pytest.raises(BadInput, match="are both of cell 'c0'"):
        survey(Layout(name="level_folders", folder=mine))


# ---- settings


def test_steps_scale_what_goes_with_them() -> None:
    usual, more = (read_settings(None, Changes(steps=steps)).study for steps in (None, 6000))
    assert (more.scratch.steps, more.finetune.steps) == (6000, 600)
    assert more.scratch.validate_every == 3 * usual.scratch.validate_every
    assert more.search.rungs == tuple(3 * rung for rung in usual.search.rungs)


def test_what_the_data_do_not_allow_is_changed_and_told() -> None:
    study, notes = fitted(read_settings(None, Changes(cells=(1, 5, 40))).study, 33, [8, 4], 5)
    assert (study.scratch.crop_px, study.finetune.crop_px, study.cells) == (32, 32, (1,))
    assert notes[-1] == "learning curves with 40 cells are left out: there are 5 to learn from"


def test_steps_of_a_plan_are_those_that_are_trained() -> None:
    changes = Changes(steps=100, finetune_steps=10, trials=4, seeds=2, cells=(1,))
    study = read_settings(None, changes).study  # rungs 3, 6, 10; a third of the trials goes on
    planned = plan(study, [1, 3], stages=4)
    assert planned.search.steps == 4 * 3 + 2 * 3 + 1 * 4
    # finalists and the curve of fine-tuning; scratch and finetune_equal at two sizes
    assert planned.fits.steps == 2 * 10 * (3 + 1) + 2 * 100 * 4


# ---- a study


@dataclass(frozen=True)
class Home:
    """A folder in which a person works: with a model, and an empty database of runs."""

    folder: Path
    target: Path

    def call(self, *options: object) -> int:
        given = ["--source", "model", "--target", self.target, "--out", "out", "--settings", "settings.yaml"]
        return self._run("transfer", *given, *options)

    def promote(self, name: str, version: int, study: str = "out") -> int:
        return self._run("registry", "promote", name, version, "--reason", "tried", "--study", study)

    def _run(self, *arguments: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(transferring, "cluster", nullcontext)  # that of all tests runs already
            return exit_code(lambda: app(list(map(str, arguments)), standalone_mode=False))

    @property
    def registry(self) -> Registry:
        return Registry(f"sqlite:///{self.folder / 'mlflow.db'}")

    @property
    def record(self) -> TransferRecord:
        return OwnStudy.open(self.folder / "out").record

    def opened(self) -> list[str]:
        """Runs in which test cells were opened."""
        client = client_of(self.registry.uri)
        (experiment,) = (each for each in client.search_experiments() if each.name == "transfer")
        found = client.search_runs([experiment.experiment_id], "tags.`sim.kind` = 'evaluation'")
        return [run.info.run_name for run in reversed(found)]

    @property
    def study(self) -> StudyRecord:
        return StudyRecord.model_validate_json((self.folder / "out" / "study.json").read_text())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, make_field: Callable[..., Field]) -> Path:
    """Prepared fields with as many test cells as an interval takes."""
    folder = tmp_path_factory.mktemp("target") / "discs"
    cells = [f"cell_{cell:03d}" for cell in range(7)]
    for cell in range(7):
        for level, photons in {"low": 20.0, "high": 200.0}.items():
            ome_fields.write(folder, make_field(cell, level, photons))
    Prepared.seal(
        folder, "discs", Split(train=tuple(cells[:3]), val=tuple(cells[3:4]), test=tuple(cells[4:]))
    )
    return folder


def lax_settings() -> dict[str, Any]:
    """The shipped ones, with a gate that lets everything through that is as good as the champion."""
    settings: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text())
    settings["gate"] |= {"above_baseline": {"bicubic": -100.0}, "contradicted_percent": 100.0}
    return settings


@pytest.fixture(scope="module")
def make_home(
    job: Job, target: Path, tmp_path_factory: pytest.TempPathFactory, _empty_database: Path
) -> Callable[[], Home]:
    def make() -> Home:
        folder = tmp_path_factory.mktemp("home")
        shutil.copy(_empty_database, folder / "mlflow.db")
        (folder / "settings.yaml").write_text(yaml.safe_dump(lax_settings()))
        bench = lay_out(job)
        for sample in bench.samples.whole(Share()):
            bench.network.train()(sample.input)
        bench.network.eval()
        Restorer(job.recipe, bench.network, bench.normaliser, bench.card, bench.channels).save(
            folder / "model"
        )
        return Home(folder, target)

    return make


@pytest.fixture(scope="module")
def ended(make_home: Callable[[], Home], ray_cluster: None) -> Home:
    """One study that has ended."""
    home = make_home()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pipelines.own_study.concluding.write_page",
            lambda folder, *_: (folder / "report.html").write_text("<html>"),
        )
        assert home.call(*TINY) == 0
    return home


def test_a_study_leaves_everything_in_its_folder(ended: Home) -> None:
    out = ended.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "arms", "details", "report.html", "study.json", "transfer.json",
    ]  # fmt: skip
    assert {path.name for path in (out / "arms").iterdir()} == set(ARMS)
    assert {"scores.csv", "panel_high.png", "panel_low.png"} <= {
        each.name for each in (out / "details").iterdir()
    }
    assert ended.study.decision.chosen in ARMS
    Restorer.load(out / "arms" / ended.study.chosen)


def test_every_trial_and_fit_is_a_run_below_that_of_the_study(ended: Home) -> None:
    client = client_of(f"sqlite:///{ended.folder / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "transfer")
    runs = client.search_runs([experiment.experiment_id])
    (study,) = (each for each in runs if each.data.tags["sim.kind"] == "study")
    assert study.info.run_name == "transfer discs"
    below = [each for each in runs if each is not study]
    assert {each.data.tags["mlflow.parentRunId"] for each in below} == {study.info.run_id}
    kinds = [each.data.tags["sim.kind"] for each in below]
    assert (kinds.count("trial"), kinds.count("evaluation")) == (3, 1)
    assert kinds.count("training") == len(ended.study.finalists) + len(ended.study.learning)
    assert "study.val_psnr.scratch" in study.data.metrics
    (look,) = (each for each in below if each.data.tags["sim.kind"] == "evaluation")
    assert look.data.tags["sim.test_cells_opened"] == "1"
    assert "test_psnr_targetrange_noscale_bicubic" in look.data.metrics


def test_a_study_that_has_ended_is_not_done_again(ended: Home, capfd: pytest.CaptureFixture[str]) -> None:
    stamp = (ended.folder / "out" / "study.json").stat().st_mtime_ns
    assert ended.call(*TINY) == 0
    said = capfd.readouterr()
    assert "has ended before" in said.err
    assert said.out.startswith("decision: ")
    assert "sim-models restore STACK --model out/arms/" in said.out
    assert ended.call(*TINY, "--seeds", "2") == 2
    assert "holds a study that has ended, of other settings" in capfd.readouterr().err
    assert (ended.folder / "out" / "study.json").stat().st_mtime_ns == stamp
    assert not (ended.folder / "out" / ".work").exists()
    assert len(ended.opened()) == 1


def test_the_chosen_model_is_registered_as_a_candidate(
    ended: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Like a model of the pipeline: with tags, what the gate says, and a card with what fails."""
    assert ended.call(*TINY, "--register", "sim-discs", "--licence", "CC BY 4.0") == 0
    said = capfd.readouterr().out
    assert "registered sim-discs version 1 @candidate; gate: 3 of 3 checks passed\n" in said
    assert "sim-models registry promote sim-discs 1 --study out" in said
    registry, chosen = ended.registry, ended.study.chosen
    assert (registry.holder("sim-discs", "candidate"), registry.champions()) == (1, {})
    assert ended.record.registered == "sim-discs version 1"
    tags = registry.version("sim-discs", 1).tags
    assert (tags["sim.licence"], tags["sim.arm"], tags["sim.study"]) == ("CC BY 4.0", chosen, "transfer")
    assert tags["sim.data"] == ended.record.data
    assert {"sim.split", "sim.gate", "sim.code", "sim.test.psnr_targetrange_noscale"} <= set(tags)
    card = registry.card("models:/sim-discs/1", tmp_path)
    assert {file.name for file in card.iterdir()} == {
        "card.md", f"worst_{chosen}_high.png", f"worst_{chosen}_low.png",
    }  # fmt: skip
    assert "Licence of the data: CC BY 4.0." in (card / "card.md").read_text()
    assert ended.call(*TINY, "--register", "sim-discs") == 0
    assert "registered before" in capfd.readouterr().out


def test_no_licence_no_model(ended: Home, capfd: pytest.CaptureFixture[str]) -> None:
    given = ["--source", "model", "--target", ended.target, "--settings", "settings.yaml", *TINY]
    assert ended._run("transfer", *given, "--out", "unlicensed", "--register", "sim-unlicensed") == REFUSED
    assert "nobody has said under which licence" in capfd.readouterr().err


def test_a_registration_that_was_killed_makes_no_second_version(
    ended: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Candidate, "describe", killed)
        with pytest.raises(SystemExit):
            ended.call(*TINY, "--register", "sim-killed", *OWN)
    assert ended.record.registered != "sim-killed version 1"
    assert ended.call(*TINY, "--register", "sim-killed", *OWN) == 0
    assert ended.record.registered == "sim-killed version 1"
    (version,) = ended.registry.versions("sim-killed")
    assert "sim.gate" in version.tags


@pytest.fixture
def spoiled(ended: Home, tmp_path: Path) -> Callable[[str, int], int]:
    """Registers the chosen model with its weights changed by chance, as made from the same stacks."""

    def register(name: str, seed: int) -> int:
        restorer = Restorer.load(ended.folder / "out" / "arms" / ended.study.chosen)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in restorer.network.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        restorer.save(tmp_path / f"spoiled_{seed}")
        record = ended.record
        stack = Prepared.open(ended.target).fields("val")[0].image("raw")
        tags = {"sim.split": record.split, "sim.data": record.data}
        folder = tmp_path / f"spoiled_{seed}"
        return ended.registry.register(folder, name, record.run_id, tags, "", {"raw": stack})

    return register


def test_a_version_is_promoted_by_its_study_and_a_worse_one_refused(
    ended: Home, spoiled: Callable[[str, int], int], capfd: pytest.CaptureFixture[str]
) -> None:
    name = "sim-judged"
    assert ended.call(*TINY, "--register", name, *OWN) == 0
    before = ended.opened()
    assert ended.promote(name, 1) == 0
    assert f"{name} version 1 is champion; gate: " in capfd.readouterr().out
    worse = spoiled(name, 1)
    assert ended.promote(name, worse) == 3
    told = capfd.readouterr().err
    assert "surely more than -0.1 from champion" in told
    assert told.rstrip().endswith("version 1 stays champion")
    assert ended.registry.holder(name, "champion") == 1
    assert ended.opened() == [
        *before, f"judge {name} version 1", f"judge {name} version {worse} by version 1",
    ]  # fmt: skip
    assert ended.promote(name, worse) == 3
    assert len(ended.opened()) == len(before) + 2, "the same look"


def test_only_by_the_cells_of_its_own_study_a_version_is_promoted(
    ended: Home, spoiled: Callable[[str, int], int], capfd: pytest.CaptureFixture[str]
) -> None:
    name = "sim-elsewhere"
    assert spoiled(name, 2) == 1
    assert ended.promote(name, 1, "model") == 2
    assert "model: is no folder of a study" in capfd.readouterr().err
    ended.registry.tag(name, 1, {"sim.data": "others"})
    assert ended.promote(name, 1) == 2
    assert f"{name} version 1 was not made from the stacks of this study" in capfd.readouterr().err
    ended.registry.tag(name, 1, {"sim.data": ended.record.data, "sim.split": "0" * 64})
    assert ended.promote(name, 1) == 2
    assert "it may have learned from these test cells" in capfd.readouterr().err


def test_fields_that_have_changed_judge_nothing(
    ended: Home, spoiled: Callable[[str, int], int], capfd: pytest.CaptureFixture[str]
) -> None:
    """A person's own prepared fields stay where they are, so they may change."""
    assert not (ended.folder / "out" / "fields").exists()
    assert ended.record.fields == str(ended.target.resolve())
    version = spoiled("sim-changed", 3)
    stray = ended.target / "cell_000" / "note.txt"
    stray.write_text("bleached")
    assert ended.promote("sim-changed", version) == 2
    assert "no longer the fields that the study in out was made with" in capfd.readouterr().err
    stray.unlink()
    gone = ended.target.rename(ended.target.with_name("elsewhere"))
    assert ended.promote("sim-changed", version) == 2
    assert "the fields of the study in out are gone" in capfd.readouterr().err
    gone.rename(ended.target)


def test_fields_that_were_made_for_a_study_stay_with_it(ended: Home, tmp_path: Path) -> None:
    """Also where the folder is taken elsewhere."""
    place = Place(tmp_path / "out")
    fields = place.work / "fields" / "digest" / "discs"
    shutil.copytree(ended.target, fields)
    result = place.fresh("result")
    (result / "study.json").write_text("{}")
    kept = {"fields": "fields", "fields_digest": digest(fields)}
    place.move(result, fields, ended.record.model_copy(update=kept))
    place.clear()
    moved = place.out.rename(tmp_path / "moved")
    assert sorted(path.name for path in moved.iterdir()) == ["fields", "study.json", "transfer.json"]
    sealed = OwnStudy.open(moved).sealed()
    assert (sealed.prepared.structure, len(sealed.prepared.split.test)) == ("discs", 3)


def test_a_record_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "transfer.json").write_text('{"made_by": "sim-models transfer"}')
    with pytest.raises(BadInput, match=r"transfer.json: key: Field required"):
        OwnStudy.open(tmp_path)
    (tmp_path / "transfer.json").write_text("{")
    with pytest.raises(BadInput, match=r"transfer.json: cannot be read"):
        OwnStudy.open(tmp_path)


def test_champions_that_fit_are_sources_that_nobody_has_to_name(
    ended: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: Callable[..., Restorer]
) -> None:
    monkeypatch.chdir(ended.folder)
    registry = Registry(f"sqlite:///{ended.folder / 'mlflow.db'}")
    if registry.holder("sim-discs", "candidate") is None:
        assert ended.call(*TINY, "--register", "sim-discs", *OWN) == 0
    client_of(registry.uri).set_registered_model_alias("sim-discs", "champion", "1")  # as by hand
    found = {each.name: each for each in choosing.champions(tmp_path / "sources")}
    champion = found["sim-discs version 1"]
    untrained("deconoising").save(tmp_path / "other")
    (other,) = choosing.named([str(tmp_path / "other")], tmp_path / "sources")
    target = Target.of(Prepared.open(ended.target))
    fit, misfits = choosing.fitting([champion, other], target, are_named=False)
    assert fit == [champion]
    assert misfits[0].startswith(f"{tmp_path / 'other'} does not fit: it learns without references")
    five = replace(target, layout=(3, 5))
    with pytest.raises(BadInput, match="restores stacks of 3 angles x 3 phases, these have 3 x 5"):
        choosing.fitting([champion], five, are_named=True)


def test_a_dry_run_says_what_it_would_take(
    make_home: Callable[[], Home], ray_cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    home = make_home()
    assert home.call(*TINY, "--dry-run") == 0
    said = capfd.readouterr().out
    assert said.startswith(
        "arms: direct | finetune | finetune_equal | scratch; n = 1, 3 cells; 1 seed; 3 trials; about "
    )
    assert "(from a probe of 10 steps)" in said
    assert not (home.folder / "out" / "study.json").exists()


@pytest.mark.faults
def test_a_killed_study_goes_on_where_it_stood(
    make_home: Callable[[], Home], ended: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a random moment; what was trained by then is not trained again, and it comes to the same."""
    home = make_home()
    command = [sys.executable, "-m", "pipelines.cli", "transfer", "--source", "model"]
    command += ["--target", str(home.target), "--out", "out", *TINY]
    process = subprocess.Popen(
        command, cwd=home.folder, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    deadline = time.monotonic() + 120
    while not _states(home) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(random.uniform(0, 2))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; run the same command again to go on" in said
    assert "Traceback" not in said
    assert not (home.folder / "out" / "study.json").exists()
    kept, saved = set(_states(home)), []
    save = Trials._save

    def watched(trials: Trials, job: Job, stretch: Any) -> None:
        saved.append(trials._path(job, stretch.state.step))
        save(trials, job, stretch)

    monkeypatch.setattr(Trials, "_save", watched)
    assert home.call(*TINY) == 0
    repeated = {path.relative_to(home.folder) for path in saved if path.is_relative_to(home.folder)}
    assert not {path for path in kept if path.relative_to(home.folder) in repeated}
    assert [arm.val_psnr for arm in home.study.arms] == [arm.val_psnr for arm in ended.study.arms]
    client = client_of(f"sqlite:///{home.folder / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "transfer")
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert len(names) == len(set(names)), "no run twice"


def _states(home: Home) -> list[Path]:
    return list((home.folder / "out" / ".work" / "trials").glob("*/*/*.pt"))
