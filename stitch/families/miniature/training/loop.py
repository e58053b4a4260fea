"""The loop that all the small networks share: seeded, resumable, logged, with averaged weights."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

Losses = Mapping[str, Tensor]
"""Parts of a loss by name; their sum is minimised."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimiser steps.
        batch: samples a step.
        learning_rate: AdamW's highest rate, reached after `warmup` of the steps, falling to 1/200 of it by a cosine.
        weight_decay: AdamW's, on matrices and filters only.
        average: share of a step's weights in the running average; the first steps take more.
        log_every: steps between two lines of the log.
        checkpoint_s: seconds between two checkpoints.
        betas: of AdamW.
        vectors: share of the rate that biases and other vectors take; their steps are not shared by a fan-in.
    """

    steps: int
    batch: int
    learning_rate: float = 3e-3
    warmup: float = 0.08
    weight_decay: float = 0.02
    average: float = 0.01
    log_every: int = 100
    checkpoint_s: float = 45.0
    betas: tuple[float, float] = (0.9, 0.99)
    vectors: float = 1.0


def placed(module: M, device: str) -> M:
    """The module on a device, filters laid out channels last, which is what convolutions on a CPU like."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def rate_at(schedule: Schedule, step: int) -> float:
    """Learning rate of one step: linear rise, then a cosine fall."""
    rise = max(1, int(schedule.steps * schedule.warmup))
    if step < rise:
        return schedule.learning_rate * (step + 1) / rise
    share = (step - rise) / max(1, schedule.steps - rise)
    return schedule.learning_rate * (0.005 + 0.995 * (1 + math.cos(math.pi * share)) / 2)


def fit(
    module: nn.Module,
    losses: Callable[[torch.Generator], Losses],
    schedule: Schedule,
    out: Path,
    seed: int,
    measure: Callable[[], Mapping[str, float]] | None = None,
) -> None:
    """Train `module` in place, or go on where a killed training stopped.

    Every step draws from a generator seeded by (seed, step), so that a resumed training sees what an unbroken one does.
    At the end the module holds the averaged weights, frozen, in evaluation mode.

    Args:
        module: on its device; everything that learns must be inside.
        losses: one step's losses; it draws its batch from the generator handed to it.
        schedule: how long and how fast.
        out: folder for checkpoint.pt and log.jsonl.
        seed: of the batches.
        measure: figures for the log on samples not trained on; called with the averaged weights, at the end and at
            every tenth line of the log.
    """
    out.mkdir(parents=True, exist_ok=True)
    module.train().requires_grad_(True)
    names = [name for name, _ in module.named_parameters()]
    decayed = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay, "share": 1.0},
            {"params": plain, "weight_decay": 0.0, "share": schedule.vectors},
        ],
        betas=schedule.betas,
        foreach=True,
    )
    average = {key: value.detach().clone() for key, value in module.state_dict().items()}
    checkpoint = out / "checkpoint.pt"
    step, before_s = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=next(module.parameters()).device, weights_only=True)
        if saved["names"] != names or saved["steps"] != schedule.steps:
            raise ValueError(f"{checkpoint}: of another network or schedule; expected the same, or an empty folder")
        module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        average, step, before_s = saved["average"], saved["step"], saved["seconds"]
    started = kept_at = time.monotonic()
    sums: dict[str, float] = {}
    while step < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(schedule, step) * group["share"]
        parts = losses(torch.Generator().manual_seed(seed * 1_000_003 + step))
        total = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0, foreach=True)
        optimiser.step()
        _blend(average, module.state_dict(), max(schedule.average, 1 / (step + 2)))
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + float(part.detach())
        step += 1
        last = step == schedule.steps
        now = time.monotonic()
        if step % schedule.log_every == 0 or last:
            lines = (step - 1) % schedule.log_every + 1
            row: dict[str, float] = {"step": step, "steps": schedule.steps, "rate": rate_at(schedule, step - 1)}
            row["seconds"] = round(before_s + now - started, 1)
            row.update({name: value / lines for name, value in sums.items()})
            if measure is not None and (last or step % (10 * schedule.log_every) == 0):
                row.update(_measured(module, average, measure))
            sums = {}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({key: _short(value) for key, value in row.items()}) + "\n")
        if last or now - kept_at > schedule.checkpoint_s:
            kept_at = now
            state = {
                "names": names, "steps": schedule.steps, "step": step, "seconds": before_s + now - started,
                "module": module.state_dict(), "average": average, "optimiser": optimiser.state_dict(),
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    module.load_state_dict(average)
    module.eval().requires_grad_(False)


def _blend(average: dict[str, Tensor], state: Mapping[str, Tensor], share: float) -> None:
    floats = [key for key, value in state.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[key] for key in floats], [state[key].detach() for key in floats], share)
    for key, value in state.items():
        if not value.is_floating_point():
            average[key].copy_(value)


def _measured(
    module: nn.Module, average: Mapping[str, Tensor], measure: Callable[[], Mapping[str, float]]
) -> Mapping[str, float]:
    """Figures of the averaged weights; the learning ones are put back afterwards."""
    learning = {key: value.detach().clone() for key, value in module.state_dict().items()}
    module.load_state_dict(average)
    module.eval()
    with torch.no_grad():
        figures = measure()
    module.load_state_dict(learning)
    module.train()
    return figures


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.5g}")
