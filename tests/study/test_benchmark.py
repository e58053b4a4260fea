"""The benchmark runs, counts its work and can be read; how fast anything is, no test can say."""

import json
from dataclasses import asdict

import pytest
import torch

from stitch.core.events import Progress
from stitch.study import benchmark
from tests.stages import finish


@pytest.fixture(scope="module")
def measured(family):
    return finish(benchmark.run(family, limit_s=0.0))


def test_run_measures_both_loops_and_every_stage(measured):
    report, events = measured
    assert {row.name.split(",")[0] for row in report.loops} == {"PTI", "PTI without locality", "stitching"}
    stages = " ".join(row.name for row in report.stages)
    for stage in ("read", "find", "align", "invert", "tune", "edit", "masks", "stitch", "merge", "write", "preview"):
        assert stage in stages
    for row in report.loops:
        assert row.gflop > 0 and row.share > 0
        assert row.frame_steps_per_s == pytest.approx(1e3 * row.frames / row.step_ms)
    assert all(row.frame_s > 0 for row in report.stages) and all(row.frame_ms > 0 for row in report.passes)
    total = events[-1].total
    assert events == [Progress("bench", done, total, "measurement") for done in range(1, total + 1)]


def test_run_counts_the_work_of_the_generator(family, measured):
    report, _ = measured
    rows = {(row.name, row.frames): row.gflop for row in report.loops}
    codes = torch.zeros(1, family.generator.num_ws, 8)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        family.generator(codes)
    forward = counter.get_total_flops() / 1e9
    stitching = rows[("stitching", 1)]
    # A backward pass is about two forward ones.
    assert 2.5 * forward < stitching < 3.2 * forward
    assert rows[("PTI", 1)] > 2 * rows[("PTI without locality", 1)] > 2 * stitching


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_way_back_of_a_convolution_counts_as_two_of_it(groups):
    layer, crops = torch.nn.Conv2d(8, 8, 3, groups=groups), torch.randn(2, 8, 6, 6, requires_grad=True)

    def stage():
        while True:
            layer(crops).sum().backward()
            yield Progress("tune", 1, 1, "step")

    once = 2 * 2 * 4 * 4 * 8 * (8 // groups) * 9
    assert benchmark._frame_gflop(lambda frames: stage()) == pytest.approx(3e-9 * once)


def test_run_sets_the_loss_of_each_precision_beside_float32s(measured):
    exact, half = measured[0].curves
    assert (exact.precision, half.precision) == ("fp32", "bf16")
    assert len(exact.losses) == len(half.losses) == 3 and exact.losses != half.losses
    assert exact.losses[-1] < exact.losses[0]
    assert half.losses == pytest.approx(exact.losses, rel=0.03)


def test_report_is_plain_data_and_a_table(measured):
    report, _ = measured
    assert json.loads(json.dumps(asdict(report)))["resolution"] == 32
    lines = benchmark.table(report).splitlines()
    assert "GFLOP/s in fp32 matrix products" in lines[0]
    assert len(lines) == 5 + len(report.loops) + 1 + len(report.passes) + 2 + len(report.stages) - 1 + 2 + 3
    assert lines[-4].split()[-2:] == ["fp32", "bf16"] and [line.split()[0] for line in lines[-3:]] == ["1", "2", "3"]
    assert float(lines[-1].split()[1]) == pytest.approx(report.curves[0].losses[2], abs=1e-4)
    assert max(len(line) for line in lines) <= 120


def test_run_leaves_the_family_as_it_was(family, measured):
    assert not any(parameter.requires_grad for parameter in family.generator.parameters())
