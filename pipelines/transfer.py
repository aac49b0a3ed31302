"""Stage `transfer`: carry a model to another structure; how, with how many stacks, and how sure."""

import pandas as pd

from pipelines.shared.fitting import Lab, bench, data_folder, data_tags, job_key, pictures
from pipelines.shared.logbook import Logbook
from pipelines.shared.params import read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, TRANSFERS, digest, run, whole_folder, write_whole
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.training.distributed import cluster
from sim_models.transfer.study import Sources, Study, StudyRecord, jobs_of
from sim_models.transfer.trials import Trials


def main(key: str) -> None:
    """Write `transfers/<key>`: a restorer of each arm and `study.json`."""
    params = read_params()
    transfer = params.transfer(key)
    lab = Lab.open(params)
    dataset = (DATA / "fields" / transfer.structure).resolve()
    source = MODELS / transfer.source
    scratch, finetune = jobs_of(transfer.study, Restorer.load(source).recipe, str(dataset), source)
    settings = transfer.model_dump(mode="json")
    data = data_tags(finetune)
    tags = {"sim.kind": "study", "sim.source": transfer.source, **data}
    with (
        bench(digest(job_key(scratch), job_key(finetune), transfer.study.model_dump_json())) as here,
        whole_folder(TRANSFERS / key) as folder,
        lab.tracker.run(f"transfer {key}", here.key("study"), settings, tags) as parent,
        cluster(),
    ):
        lab.refuse_private_runs()
        parent.dataset(data_folder(finetune), tags["sim.split"], "training")
        trials = Trials(here.folder / "trials")
        logbook = Logbook(lab.tracker, parent, here.execution, here.folder / "logged", trials, data)
        study = Study(
            settings=transfer.study,
            prepared=Prepared.open(dataset).towards(finetune.recipe.task.target),
            folder=str(dataset),
            trials=trials,
            bootstrap=params.evaluation.bootstrap,
            listener=logbook.listener,
        )
        record = study.run(Sources({transfer.source: source}), folder)
        (folder / "study.json").write_text(record.model_dump_json(indent=2) + "\n")
        write_curves(key, record)
        for arm in ("finetune", "finetune_equal", "scratch"):
            drawn = pictures(study.prepared, folder / arm, here.folder / f"{arm}.pictures", lab.evaluation)
            parent.folder(drawn, f"validation/{arm}")
        logbook.concluded(record)


def write_curves(key: str, record: StudyRecord) -> None:
    """Write `reports/curves/<key>.csv` and `<key>_cells.csv`: validation PSNR by step, and by training cells.

    No times, for they never repeat.
    """
    by_step = [
        {"arm": arm.name, "seed": each.seed, "step": step, "val_psnr": psnr}
        for arm in record.arms
        for each in arm.repeats
        for step, psnr, _ in each.curve
    ]
    by_cells = [
        {"arm": each.name, "cells": each.cells, "seed": repeat.seed, "val_psnr": repeat.val_psnr}
        for each in record.learning
        for repeat in each.repeats
    ]
    for name, rows in ((key, by_step), (f"{key}_cells", by_cells)):
        table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
        write_whole(REPORTS / "curves" / f"{name}.csv", table)


if __name__ == "__main__":
    run(main)
