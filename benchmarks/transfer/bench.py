"""What the search for a freeze range costs and finds, beside trying everything; writes a page.

    python benchmarks/transfer/bench.py [OUT.md]

For each of three transfers between models and fields of the shipped study (`make repro` makes them) every freeze range
is fine-tuned to its end with every learning rate, and the search of `params.yaml` is run, both from nothing. Told are
how far what the search chose lies below the best of all, and its share of the compute. Then what it saves to compute
frozen stages at the input once.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import DATA, MODELS
from sim_models.evaluation.intervals import Bootstrap
from sim_models.freeze import FreezeRange
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.training.distributed import cluster
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import train
from sim_models.transfer.cost import TERA
from sim_models.transfer.prefix import Store, remembered
from sim_models.transfer.search import TrialRecord, best, freeze_ranges, operations_of, search
from sim_models.transfer.study import NOTHING, Costs, Listener, Study, StudySettings, jobs_of
from sim_models.transfer.trials import Trials

TRANSFERS = (("microtubules_nafnet", "ccps"), ("microtubules_nafnet", "er"), ("ccps_nafnet", "er"))
LIMIT_DB, LIMIT_SHARE = 0.1, 0.2
SILENT = Listener(lambda _trial: None, lambda _name, _job, _stretch: None)
TIMED = 5
"""times that a trial is timed with and without a store, in turns"""


@dataclass(frozen=True)
class Outcome:
    """One transfer."""

    source: str
    target: str
    everything: dict[tuple[FreezeRange, float], float]
    """validation PSNR in dB of each range and rate at its end"""
    found: TrialRecord
    """the best trial of the search"""
    chosen: tuple[FreezeRange, float]
    """range and rate that a study goes on with, after the finalists of the search were trained with every seed"""
    verdict: str
    gap_db: float
    """by how much the best of all is better than that, both trained with every seed of the study"""
    share_steps: float
    share_operations: float
    share_with_finalists: float
    labels: dict[FreezeRange, str]

    @property
    def lucky_gap_db(self) -> float:
        """The same with the one seed of the search, with which the best of all is also the luckiest."""
        return max(self.everything.values()) - self.everything[self.chosen]

    @property
    def holds(self) -> bool:
        """Whether the search is as good and as cheap as it should be."""
        return self.gap_db <= LIMIT_DB and self.share_operations <= LIMIT_SHARE


def job_of(settings: StudySettings, source: str, target: str) -> Job:
    """The fine-tune whose range and rate are looked for."""
    folder = MODELS / source
    return jobs_of(settings, Restorer.load(folder).recipe, str((DATA / "fields" / target).resolve()), folder)[
        1
    ]


def measure(settings: StudySettings, bootstrap: Bootstrap, source: str, target: str, folder: Path) -> Outcome:
    """Try everything, then search; each with a folder of its own, so neither takes anything from the other."""
    job = job_of(settings, source, target)
    bench = lay_out(job)
    operations = operations_of(bench)
    points = list(product(freeze_ranges(len(bench.network.stages())), settings.search.learning_rates))
    jobs = [
        job.model_copy(
            update={
                "frozen": frozen,
                "training": job.training.model_copy(update={"learning_rate": rate}),
            }
        )
        for frozen, rate in points
    ]
    done = Trials(folder / "everything").finish(jobs)
    kept = Trials(folder / "search")
    trials = search(job, settings.search, kept.advance, lambda _: None)
    study = Study(settings, Prepared.open(Path(job.dataset)), job.dataset, kept, bootstrap, SILENT)
    finalists, decision = study.choose_range(job, trials, Costs())
    winner, chosen = next(each for each in finalists if each[1].name == decision.chosen)
    top = jobs[max(range(len(jobs)), key=lambda index: done[index].state.best_psnr)]
    steps = sum(stretch.state.step for stretch in done)
    spent = sum(
        stretch.state.step * operations[frozen] for (frozen, _), stretch in zip(points, done, strict=True)
    )
    return Outcome(
        source=source,
        target=target,
        everything={point: stretch.state.best_psnr for point, stretch in zip(points, done, strict=True)},
        found=best(trials),
        chosen=(winner.frozen, winner.training.learning_rate),
        verdict=decision.verdict,
        gap_db=_with_seeds(top, settings.seeds, Trials(folder / "everything")) - chosen.val_psnr,
        share_steps=sum(trial.steps for trial in trials) / steps,
        share_operations=sum(trial.tflop for trial in trials) * TERA / spent,
        share_with_finalists=(
            sum(trial.tflop for trial in trials)
            + sum(each.tflop * len(each.repeats) for _, each in finalists)
        )
        * TERA
        / spent,
        labels={frozen: frozen.label(bench.network) for frozen, _ in points},
    )


def _with_seeds(job: Job, seeds: Sequence[int], trials: Trials) -> float:
    """Validation PSNR in dB, mean over seeds."""
    jobs = [
        job.model_copy(update={"training": job.training.model_copy(update={"seed": seed})}) for seed in seeds
    ]
    return float(np.mean([np.mean(stretch.psnrs) for stretch in trials.finish(jobs)]))


def prefix_seconds(settings: StudySettings, source: str, target: str) -> list[tuple[str, float, float]]:
    """Label, and seconds of the second trial of every frozen prefix, without and with what the first has stored."""
    job, rows = job_of(settings, source, target), []
    torch.set_num_threads(1)
    for end in range(1, len(lay_out(job).network.stages())):
        each = job.model_copy(update={"frozen": FreezeRange(start=0, end=end)})
        store, bare, kept = Store(), [], []
        _seconds(each, store)
        for _ in range(TIMED):
            bare.append(_seconds(each, Store(limit_bytes=0)))
            kept.append(_seconds(each, store))
        rows.append((each.frozen.label(lay_out(each).network), median(bare), median(kept)))
    return rows


def _seconds(job: Job, store: Store) -> float:
    bench = lay_out(job)
    started = time.perf_counter()
    with remembered(bench.network, job.frozen, "source", store):
        train(
            bench.network, job.recipe.method, bench.samples, bench.validation, job.training, bench.start(),
            job.training.steps,
        )  # fmt: skip
    return time.perf_counter() - started


def page(outcomes: list[Outcome], prefixes: list[tuple[str, float, float]], settings: StudySettings) -> str:
    """The Markdown page."""
    looked, tried = settings.search, len(outcomes[0].everything)
    rates = ", ".join(f"{rate:g}" for rate in looked.learning_rates)
    lines = [
        "# The search for a freeze range beside trying everything",
        "",
        f"`make benchmark-transfer` writes this page. Everything: {tried} fine-tunes of {settings.finetune.steps} "
        f"steps, every freeze range with every learning rate ({rates}). The search: {looked.trials} trials chosen by "
        f"Optuna, of which {looked.keep:.0%} go on at steps {', '.join(map(str, looked.rungs))}. Then its "
        f"{settings.finalists} finalists are trained with {len(settings.seeds)} seeds, and the study goes on with the "
        "cheapest that is good enough. Both from nothing. PSNR on validation cells, with one seed but for the gap: for "
        f"that, the best of all is trained with every seed as well, since the best of {tried} is also the luckiest.",
        "",
        *_table([_row(each) for each in outcomes]),
        "",
        "Compute is floating-point operations; that of finalists an exhaustive search would need as well, to tell luck "
        f"from quality. Wanted: a gap of at most {LIMIT_DB:g} dB for at most {LIMIT_SHARE:g} of the compute; this "
        f"holds for {sum(each.holds for each in outcomes)} of {len(outcomes)} transfers.",
        "",
        "## Frozen stages at the input, computed once",
        "",
        f"Seconds of a fine-tune on one thread, validation included, that freezes the first stages; median of {TIMED}, "
        "in turns. The second trial of a source and seed finds what the first has computed; the result is the same to "
        "the bit.",
        "",
        *_table(
            [
                {
                    "frozen": label,
                    "computed anew": f"{bare:.2f} s",
                    "taken from the store": f"{kept:.2f} s",
                    "saved": f"{1 - kept / bare:.0%}",
                }
                for label, bare, kept in prefixes
            ]
        ),
        "",
    ]
    return "\n".join(lines)


def _row(each: Outcome) -> dict[str, str]:
    top = max(each.everything, key=lambda point: each.everything[point])
    nothing = max(psnr for (frozen, _), psnr in each.everything.items() if frozen == NOTHING)

    def told(point: tuple[FreezeRange, float]) -> str:
        return f"{each.everything[point]:.2f} dB: {each.labels[point[0]]} at {point[1]:g}"

    return {
        "transfer": f"{each.source} → {each.target}",
        "best of all": told(top),
        "best trial of the search": f"{each.found.val_psnr:.2f} dB: {each.found.label} at {each.found.learning_rate:g}",
        "the study goes on with": f"{told(each.chosen)} ({each.verdict})",
        "gap": f"{each.gap_db:.3f} dB ({each.lucky_gap_db:.3f} with one seed)",
        "freezing nothing": f"{nothing:.2f} dB",
        "share of the compute": f"{each.share_operations:.3f} ({each.share_with_finalists:.3f} with finalists)",
        "share of the steps": f"{each.share_steps:.3f}",
    }


def _table(rows: list[dict[str, str]]) -> list[str]:
    """Lines of a Markdown table."""
    head = list(rows[0])
    return [
        f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *(row.values() for row in rows))
    ]


def main() -> None:
    """Measure and write."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmark_transfer.md")
    params: Params = read_params()
    settings = next(iter(params.transfers.values())).study
    outcomes = []
    with cluster(), tempfile.TemporaryDirectory() as folder:
        for source, target in TRANSFERS:
            each = measure(
                settings, params.evaluation.bootstrap, source, target, Path(folder) / f"{source}-{target}"
            )
            print(
                f"{source} -> {target}: {each.gap_db:.3f} dB below the best of all, for {each.share_operations:.3f} of "
                "the compute",
                flush=True,
            )
            outcomes.append(each)
    prefixes = prefix_seconds(settings, *TRANSFERS[0])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(outcomes, prefixes, settings))
    print(out)
    if not all(each.holds for each in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
