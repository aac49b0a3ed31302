"""The benchmark of classical SIM: is its simulator right, do its scores see mistakes, does the runner run."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.special import j1

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "recon"
sys.path.insert(0, str(FOLDER))  # its files are scripts, no package

import real_stack  # noqa: E402
import run_sim_models  # noqa: E402
from document import counted  # noqa: E402
from recon_case import Stopwatch, load, peak_mb, save  # noqa: E402
from rows import OURS, Measured, Row, Rows, score  # noqa: E402
from scores import Cutoffs, deviations, image_scores, target_image, widefield_image  # noqa: E402
from simulate import (  # noqa: E402
    CUTOFF_PER_UM,
    MARGIN_PX,
    OFFSET,
    PIXEL_UM,
    Case,
    Recipe,
    Stripes,
    acquire,
    bad_cases,
    blur,
    expose,
    is_written,
    lowlight_cases,
    main_cases,
    write_case,
)
from targets import BRIGHT, Target, check  # noqa: E402

SMALL = Recipe(shape=(128, 160), stripe_seed=5, object_seed=6)
FLAT = replace(SMALL, modulation=((0.0,),))


def airy(distance_um: np.ndarray) -> np.ndarray:
    """Share of a point's light on a pixel of half the raw size: the textbook's formula, no Fourier transform in it."""
    v = np.pi * CUTOFF_PER_UM * np.maximum(distance_um, 1e-9)
    return np.pi * CUTOFF_PER_UM**2 / 4 * (2 * j1(v) / v) ** 2 * (PIXEL_UM / 2) ** 2


def test_a_point_becomes_an_airy_disc_as_bright_as_its_place_in_the_stripes() -> None:
    height, width = 40, 56
    light = np.zeros((2 * (height + 2 * MARGIN_PX), 2 * (width + 2 * MARGIN_PX)), np.float32)
    row, column = 2 * (MARGIN_PX + 17) + 1, 2 * (MARGIN_PX + 30)
    light[row, column] = 1000
    y, x = row / 2 - MARGIN_PX, column / 2 - MARGIN_PX
    wave, phase, depth = np.array([[7.3, -4.1], [0.0, 9.0]]), np.array([[0.2, 1.9], [3.0, 0.4]]), (0.3, 0.6)
    frames = expose(light, Stripes(wave, phase, np.array([depth, depth])), (height, width), bleaching=0.1)
    rows, columns = np.indices((height, width))
    disc = airy(PIXEL_UM * np.hypot(rows - y, columns - x))
    for angle in range(2):
        for step in range(2):
            turn = 2 * np.pi * (wave[angle, 0] * x / width + wave[angle, 1] * y / height) + phase[angle, step]
            stripes = 1 + depth[0] * np.cos(turn) + depth[1] * np.cos(2 * turn)
            expected = 1000 * 0.9 ** (2 * angle + step) * stripes * disc
            np.testing.assert_allclose(frames[2 * angle + step], expected, atol=1e-3 * 1000 * disc.max())


def test_blur_keeps_light() -> None:
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)
    assert blur(image).sum() == pytest.approx(image.sum(), rel=1e-5)


def test_noise_is_that_of_counted_electrons_and_the_camera() -> None:
    seen = acquire(SMALL)
    off = seen.raw - seen.clean - OFFSET
    assert off.mean() == pytest.approx(0, abs=0.1)
    assert off.var() == pytest.approx(seen.clean.mean() + 1.5**2 + 1 / 12, rel=0.02)


def test_an_offset_of_the_seeds_changes_object_stripes_and_noise() -> None:
    first, second = (acquire(replace(SMALL, stripe_seed=5 + each, object_seed=6 + each)) for each in (0, 1))
    assert not np.allclose(first.light, second.light, rtol=0.1)
    assert np.abs(first.stripes.wave - second.stripes.wave).min() > 0.001
    assert main_cases(1)["c9_p5"].recipe.stripe_seed == main_cases(0)["c9_p5"].recipe.stripe_seed + 1


def test_the_sets_are_complete() -> None:
    assert (len(main_cases(0)), len(lowlight_cases(6, 0)), len(bad_cases(3, 0))) == (11, 54, 63)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stack that is as it should be, and one without stripes."""
    folder = tmp_path_factory.mktemp("cases")
    write_case(Case(SMALL), folder / "good")
    write_case(Case(FLAT), folder / "flat")
    return folder


def test_a_case_is_only_written_again_for_another_recipe(cases: Path) -> None:
    assert is_written(Case(SMALL), cases / "good")
    assert not is_written(Case(replace(SMALL, photons=999.0)), cases / "good")
    assert not is_written(Case(SMALL), cases / "missing")


def test_spoilt_cases_are_spoilt_in_one_way(cases: Path, tmp_path: Path) -> None:
    write_case(Case(SMALL, "phase_major"), tmp_path / "order")
    write_case(Case(SMALL, "pixel_large"), tmp_path / "pixel")
    good, order, pixel = load(cases / "good"), load(tmp_path / "order"), load(tmp_path / "pixel")
    assert order.meta == good.meta
    np.testing.assert_array_equal(order.counts.reshape(3, 3, 128, 160).swapaxes(0, 1), good.counts)
    np.testing.assert_array_equal(pixel.counts, good.counts)
    assert pixel.meta["pixel_um"] == pytest.approx(1.4 * PIXEL_UM)


def truth_and_meta(cases: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    case = load(cases / "good", with_truth=True)
    assert case.truth is not None
    return case.truth, case.meta


def told(truth: dict[str, Any]) -> dict[str, Any]:
    return {key: truth[key].tolist() for key in ("k", "phase", "mod")}


def test_true_stripes_have_no_error_either_way_round(cases: Path) -> None:
    truth, _ = truth_and_meta(cases)
    turned = {
        "k": (-truth["k"]).tolist(),
        "phase": (2 * np.pi - truth["phase"]).tolist(),
        "mod": truth["mod"].tolist(),
    }
    for result in (told(truth), turned):
        found = deviations(result, truth)
        errors = found.worst_wave_px, found.worst_phase_rad, found.worst_modulation
        assert errors == pytest.approx((0, 0, 0), abs=1e-9)
        assert found.right


def test_wrong_stripes_have_the_error_they_were_given(cases: Path) -> None:
    truth, _ = truth_and_meta(cases)
    centre = 2 * np.pi * (np.array([159, 127]) / 2 / np.array([160, 128]))
    wrong = {key: np.array(value) for key, value in told(truth).items()}
    shift = np.array([0.3, -0.4])
    wrong["k"][1] += shift
    wrong["phase"][1] -= shift @ centre  # the same phase at the centre of the field
    wrong["phase"][2, 1] += 0.2
    wrong["mod"][0] -= 0.05
    found = deviations(wrong, truth)
    errors = found.worst_wave_px, found.worst_phase_rad, found.worst_modulation
    assert errors == pytest.approx((0.5, 0.2, 0.05))
    assert not found.right


def test_the_target_scores_perfectly(cases: Path) -> None:
    truth, meta = truth_and_meta(cases)
    scores = image_scores(3 * target_image(truth, meta) + 7, truth, meta)
    assert min(scores.psnr, scores.psnr_ring) > 100
    assert (scores.ssim, scores.ssim_ring, scores.low_transfer) == pytest.approx((1, 1, 1), abs=1e-4)
    assert scores.shift_px == (0, 0)


def test_scores_see_noise_and_false_stripes_and_widefield(cases: Path) -> None:
    truth, meta = truth_and_meta(cases)
    target = target_image(truth, meta)
    noise = np.random.default_rng(0).normal(0, 0.02 * np.ptp(target), target.shape)
    ghosts = target * (1 + 0.1 * np.cos(2 * np.pi * np.arange(target.shape[1]) / 7))
    plain = widefield_image(load(cases / "good").counts - OFFSET)
    for image in (target + noise, ghosts, plain):
        scores = image_scores(image, truth, meta)
        assert max(scores.psnr, scores.psnr_ring) < 45
        assert max(scores.ssim, scores.ssim_ring) < 0.999
    assert image_scores(plain, truth, meta).cutoff_reached == pytest.approx(1, abs=0.1)


def test_another_apodisation_counts_as_delivered_but_not_ring_matched(cases: Path) -> None:
    truth, meta = truth_and_meta(cases)
    target = target_image(truth, meta)
    frequency = np.hypot(np.fft.fftfreq(target.shape[0])[:, None], np.fft.rfftfreq(target.shape[1]))
    gain = np.exp(-frequency / Cutoffs.of(truth, meta).detection)
    scores = image_scores(np.fft.irfft2(np.fft.rfft2(target) * gain, s=target.shape), truth, meta)
    assert scores.psnr < 40
    assert scores.psnr_ring > scores.psnr + 15
    assert scores.low_transfer == pytest.approx(np.exp(0.75), rel=0.1)


def test_a_shift_is_reported_and_forgiven(cases: Path) -> None:
    truth, meta = truth_and_meta(cases)
    target = target_image(truth, meta)
    scores = image_scores(np.roll(target, (2, -1), (0, 1)), truth, meta)
    assert scores.shift_px == pytest.approx((-2, 1), abs=0.05)
    assert scores.psnr > 60


def test_times_are_those_of_the_call_once_it_is_warm() -> None:
    calls: list[int] = []
    answer, times = Stopwatch(4).time(lambda: calls.append(1) or len(calls))
    assert (answer, len(times)) == (5, 4)
    assert Stopwatch(0).time(lambda: 7) == (7, [])


def test_peak_memory_is_this_process_s_own() -> None:
    """Not that of its parent, which `getrusage` would tell."""
    ballast = np.ones(100_000_000 // 8)
    command = [sys.executable, "-c", "from recon_case import peak_mb; print(peak_mb())"]
    child = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    assert float(child.stdout) < 100 < peak_mb()
    assert ballast.nbytes == 100_000_000


@pytest.fixture(scope="module")
def results(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the runner wrote, from a folder of its own, with other modules of likely names in its way."""
    decoys = tmp_path_factory.mktemp("decoys")
    for name in ("common", "metrics", "simdata", "scores", "rows", "recon_case"):
        (decoys / f"{name}.py").write_text("raise SystemExit('a decoy was imported')")
    out = decoys / "out"
    runner = sys.executable, str(FOLDER / "run_sim_models.py")
    asked = "--repeat", "1", "--out", str(out), "--cases", str(cases / "good"), str(cases / "flat")
    # Threads that spin for each other take seconds where something else runs; ones that sleep do not.
    environment = {**os.environ, "PYTHONPATH": str(decoys), "OMP_WAIT_POLICY": "passive"}
    subprocess.run([*runner, *asked], cwd=decoys, env=environment, check=True)
    return out


def test_the_runner_writes_what_it_promises(cases: Path, results: Path) -> None:
    result = json.loads((results / "good" / "result.json").read_text())
    assert result["ok"] is True
    asked_for = {
        "k", "phase", "mod", "t_estimate_s", "t_setup_s", "t_reconstruct_s", "peak_rss_mb", "base_rss_mb",
        "k_sigma_px", "phase_sigma", "mod_sigma", "score", "limit", "warnings", "noise_variance", "transfer", "version",
    }  # fmt: skip
    assert asked_for <= set(result)
    assert np.shape(result["phase"]) == (3, 3)
    assert 0 < max(result["k_sigma_px"]) < 0.1
    image = tifffile.imread(results / "good" / "recon.tif")
    assert (image.shape, image.dtype) == ((256, 320), np.float32)


def test_the_runner_is_right_and_better_than_widefield(cases: Path, results: Path) -> None:
    row = score(OURS, cases / "good", results)
    truth, meta = truth_and_meta(cases)
    plain = image_scores(widefield_image(load(cases / "good").counts - OFFSET), truth, meta)
    assert row.right
    assert row.image is not None
    assert row.image.psnr_ring > plain.psnr_ring + 5
    assert row.image.shift_px == (0, 0)


def test_the_runner_refuses_with_a_reason(results: Path) -> None:
    result = json.loads((results / "flat" / "result.json").read_text())
    assert result["ok"] is False
    assert "no stripes found" in result["message"]
    assert "crashed" not in result
    assert not (results / "flat" / "recon.tif").exists()


def test_true_stripes_reconstruct_as_well_as_found_ones(cases: Path, results: Path) -> None:
    case = load(cases / "good", with_truth=True)
    options = Namespace(params="truth", repeat=0, wiener=None, estimate_only=False)
    told_back = run_sim_models.run(case, options)
    assert case.truth is not None
    assert deviations(told_back, case.truth).worst_wave_px < 1e-9
    found = score(OURS, cases / "good", results).image
    assert found is not None
    assert image_scores(told_back["image"], case.truth, case.meta).psnr == pytest.approx(found.psnr, abs=0.3)


def test_a_missing_result_is_no_answer_and_no_refusal_either(cases: Path, tmp_path: Path) -> None:
    row = score(OURS, cases / "good", tmp_path)
    assert not row.ok
    assert row.result["crashed"]


def test_what_json_has_no_word_for_becomes_null(cases: Path, tmp_path: Path) -> None:
    save(tmp_path, load(cases / "good"), "someone", k=np.array([np.nan, 1.0]), score=(np.float32(2), np.inf))
    result = json.loads((tmp_path / "good" / "result.json").read_text())
    assert result == {"peer": "someone", "k": [None, 1.0], "score": [2.0, None]}


def measured(cases: Path, wave_error_px: float, reconstruct_s: float, peer_s: float | None) -> Measured:
    """A run in which one case was run."""
    truth, _ = truth_and_meta(cases)
    result = {**told(truth), "ok": True, "t_reconstruct_s": [reconstruct_s] * 3}
    result["k"][0][0] += wave_error_px
    main = [Row(OURS, BRIGHT, result, deviations(result, truth))]
    if peer_s is not None:
        main.append(Row("peer", BRIGHT, {"ok": True, "t_reconstruct_s": [peer_s]}))
    rows = Rows({"main": main, "lowlight": [Row(OURS, "ll_p0300_s0", {"ok": False})], "bad": []})
    return Measured(rows, 1, 0, 3, True, None, {}, {}, None)


@pytest.mark.parametrize(
    ("wave_error_px", "reconstruct_s", "peer_s", "verdicts"),
    [
        (0.001, 0.010, 0.040, (True, True, True)),
        (0.010, 0.030, 0.040, (False, False, False)),
        (0.001, 0.010, None, (True, True, None)),
    ],
)
def test_targets_are_met_or_not(
    cases: Path,
    wave_error_px: float,
    reconstruct_s: float,
    peer_s: float | None,
    verdicts: tuple[bool | None, ...],
) -> None:
    met = {each.quantity: each.met for each in check(measured(cases, wave_error_px, reconstruct_s, peer_s))}
    names = (
        f"wave vector, worst angle, {BRIGHT}", f"reconstruct, {BRIGHT}",
        f"reconstruct, {BRIGHT}: times faster than the peer",
    )  # fmt: skip
    assert tuple(met[name] for name in names) == verdicts


def test_wave_vectors_of_the_real_stack_may_be_reversed() -> None:
    waves = real_stack.reference_waves() + np.array([[0.1, 0], [0, 0], [0, 30]])
    waves[1] *= -1
    assert real_stack.distances_px(waves) == pytest.approx([0.1, 0, 30])


def test_every_verdict_is_counted_once() -> None:
    verdicts = (True, np.True_, False, np.False_, None)
    assert counted([Target(1, "name", "limit", "ours", "peer", met) for met in verdicts]) == (2, 2)
