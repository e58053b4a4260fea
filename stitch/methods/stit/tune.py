"""Stage 3, pivotal tuning (section 3.2, equation 1): one generator learns to draw each crop at its pivot."""

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from collections.abc import Generator as Stage
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stitch.core.errors import DeviceMemoryError, StitchError
from stitch.core.events import Event, Notice, Preview, Progress
from stitch.core.images import to_bytes, to_tensor
from stitch.core.records import Crops, Pivots, Tuned
from stitch.core.settings import TuneSettings
from stitch.families.family import Generator, Perceptual
from stitch.methods.stit.losses import (
    feature_weights,
    features_of,
    locality_codes,
    mean_squared_error,
    synthesised,
    tuning_loss,
)
from stitch.runtime.disk import whole
from stitch.runtime.fingerprint import fingerprint
from stitch.runtime.memory import fits
from stitch.runtime.optimizer import Recipe, knots, optimizer, set_rates
from stitch.runtime.precision import Passes, Settled, float32_mode

_SAVE_EVERY_S = 5.0
_SAVE_SHARE = 20  # saving costs at most 1/20 of the time
_CPU_CACHE_BYTES = 512 * 2**20
_MOVES = "pivots"
_KNOT_EVERY = 2  # frames between two of the codes that are moved; those between them follow linearly
_STRAY_WEIGHT = 2e-4


def tune(
    crops: Crops,
    pivots: Pivots,
    generator: Generator,
    perceptual: Perceptual,
    recipe: Recipe[TuneSettings],
    checkpoint: Path | None = None,
    faces: Callable[[Tensor], Tensor] | None = None,
) -> Stage[Event, None, Tuned]:
    """Tunes the generator's weights on all crops at once (equation 1).

    min over theta of mean_i [ LPIPS(c_i, r_i) + 10 * MSE(c_i, r_i) ] + lambda_R * L_R, r_i = G(w_i; theta). Frames come
    in order within an epoch when each is a step of its own (as in the authors' code), unless the settings shuffle them;
    several a step are shuffled always. L_R takes one sample a step, around the pivot of the step's first frame, drawn
    without noise, as in the authors' code. What is not of the generator's `kinds` stays as it is: the mapping network,
    the noise maps.

    What a step draws depends on the seed and the step's number alone. With a checkpoint, a call that was closed goes on
    at the very step, one that was killed at an epoch a few seconds earlier, and on a CPU the result is the same bit for
    bit. The finished state stays in the checkpoint until the caller, having stored the result, deletes it.

    Args:
        crops: c_i.
        pivots: w_i of the same frames.
        generator: theta, on the device to tune on; it is left as it is.
        perceptual: LPIPS.
        recipe: epochs, batch and weights of equation 1; Adam's rates; precision; the seed of the order of frames and of
            L_R's samples.
        checkpoint: file to resume from and to keep the state in; None keeps nothing.
        faces: m_i^d of crops, [B,3,S,S] -> [B,1,S,S], by which what lies outside counts for less where the settings say
            so: there r_i gives way to c_i before both distances are taken. None lets all count alike.
    Yields:
        Progress in steps; Previews, crop and r_i side by side, after epochs 1, 2, 4, 8 .. and the last; a Notice when
        the checkpoint is of another task or damaged.
    Returns:
        theta_p, the pivots and the losses.
    Raises:
        StitchError: the loss is no longer a number.
        DeviceMemoryError: a step needs more memory than there is. It is not made smaller, for that changes the result.
        ValueError: there are not as many pivots as crops, at least one, or a setting is out of range.
    """
    settings, rates, precision = recipe.settings, recipe.rates, recipe.passes.precision
    frames = len(crops.images)
    if frames == 0 or frames != len(pivots.w):
        raise ValueError(f"pivots: got {len(pivots.w)}, expected one per crop ({frames}), at least 1")
    if settings.epochs < 0 or settings.batch < 1:
        raise ValueError(f"settings: got epochs {settings.epochs}, batch {settings.batch}, expected >= 0 and >= 1")
    per_epoch = math.ceil(frames / settings.batch)
    task = fingerprint(
        settings, rates, recipe.seed, pivots.w, pivots.axes, generator, precision, sorted(generator.kinds())
    )
    state = _State(generator, pivots, recipe, settings.steps(frames), task)
    if checkpoint is not None and checkpoint.exists() and not state.restore(checkpoint):
        yield Notice(f"{checkpoint.name}: left by other settings or damaged, so tuning starts anew")
    if state.step:
        yield Progress("tune", state.step, state.steps, "step")
    targets = _Targets(crops, perceptual, state.losses.device, precision)
    if faces is not None and settings.outside < 1:
        targets.faces, targets.outside = faces, settings.outside
    if settings.features:
        targets.weights = feature_weights(generator.resolution, settings.features).to(state.losses.device)
    saved = time.monotonic()
    pause_s = _SAVE_EVERY_S
    try:
        while state.step < state.steps:
            epoch, done = divmod(state.step, per_epoch)
            order, samples = _epoch_draws(frames, settings, generator.z_dim, recipe.seed, epoch)
            samples = samples.to(state.losses.device)
            for index in range(done, per_epoch):
                rows = order[index * settings.batch : (index + 1) * settings.batch]
                set_rates(state.optimizer, rates, state.step, state.steps)
                z = samples[index : index + 1]
                if not fits(partial(_step, state, generator, perceptual, targets, rows, z, recipe)):
                    raise _too_large(settings.batch, state.losses.device)
                yield Progress("tune", state.step, state.steps, "step")
            _require_numbers(state.losses[: state.step], rates.learning_rate)
            last = state.step == state.steps
            if checkpoint is not None and (last or time.monotonic() - saved > pause_s):
                began = time.monotonic()
                state.save(checkpoint)
                saved = time.monotonic()
                pause_s = max(_SAVE_EVERY_S, _SAVE_SHARE * (saved - began))
            if last or (epoch + 1).bit_count() == 1:
                yield targets.preview(state, frames // 2)
    except GeneratorExit:
        # Closed between two steps; an error inside one leaves a state that nobody should go on from.
        if checkpoint is not None:
            state.save(checkpoint)
        raise
    _require_numbers(state.losses, rates.learning_rate)
    state.tuned.requires_grad_(False)
    with torch.no_grad():
        moved = replace(pivots, w=state.codes(range(frames)).cpu())
    return Tuned(state.tuned, moved, state.losses.cpu())


class _State:
    """What changes while tuning: weights, what moves the pivots, Adam's moments, the losses so far."""

    def __init__(
        self, generator: Generator, pivots: Pivots, recipe: Recipe[TuneSettings], steps: int, task: str
    ) -> None:
        rates = recipe.rates
        self.tuned = copy.deepcopy(generator).requires_grad_(False)
        kinds, weights = dict(self.tuned.kinds()), dict(self.tuned.named_parameters())
        self.parameters = {
            name: weights[name].requires_grad_(True) for name, kind in kinds.items() if rates.share(kind) > 0
        }
        device = next(generator.parameters()).device
        self._w = pivots.w.to(device)
        self._axes = None
        if recipe.settings.move_pivots and pivots.axes is not None and rates.pivot > 0:
            self._axes, self._knots = pivots.axes.to(device), knots(len(pivots.w), _KNOT_EVERY).to(device)
            kinds[_MOVES] = "pivot"
            self.parameters[_MOVES] = torch.zeros(
                self._knots.shape[1], len(self._axes), device=device, requires_grad=True
            )
        self.optimizer = optimizer(((kinds[name], weight) for name, weight in self.parameters.items()), rates)
        self.steps = steps
        self.step = 0
        self.losses = torch.zeros(steps, 3, device=device)
        self.task = task

    def codes(self, rows: Sequence[int]) -> Tensor:
        """w_i, [B,L,D], as they are by now."""
        w = torch.stack([self._w[row] for row in rows])
        if self._axes is None:
            return w
        weights = torch.stack([self._knots[row] for row in rows])
        return w + (weights @ self.parameters[_MOVES] @ self._axes)[:, None]

    def strayed(self) -> Tensor:
        """How far the pivots went: the mean square of a frame's way, in std, all axes added up."""
        if self._axes is None:
            return self.losses.new_zeros(())
        return self.parameters[_MOVES].square().sum(1).mean()

    def save(self, path: Path) -> None:
        """Writes all of it so that the file is either the old one or the whole new one."""
        tensors = {"losses": self.losses[: self.step]}
        for name, parameter in self.parameters.items():
            moments = self.optimizer.state.get(parameter, {})
            tensors[f"weight.{name}"] = parameter.detach()
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}.{name}"] = moments.get(moment, torch.zeros_like(parameter))
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with whole(path) as temporary:
            save_file(contiguous, temporary, {"stitch": json.dumps({"task": self.task, "step": self.step})})

    @torch.no_grad()
    def restore(self, path: Path) -> bool:
        """Reads what `save` wrote; False, with nothing changed, when it is of another task or damaged."""
        device = str(self.losses.device)
        try:
            with safe_open(path, framework="pt", device=device) as file:
                header = json.loads((file.metadata() or {}).get("stitch", "{}"))
                if header.get("task") != self.task:
                    return False
                kept = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError, ValueError):
            return False
        self.step = header["step"]
        self.losses[: self.step] = kept["losses"]
        step = torch.tensor(float(self.step), device=device)
        ordered = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        index_of = {parameter: index for index, parameter in enumerate(ordered)}
        state = {}
        for name, parameter in self.parameters.items():
            parameter.copy_(kept[f"weight.{name}"])
            moments = {moment: kept[f"{moment}.{name}"] for moment in ("exp_avg", "exp_avg_sq")}
            state[index_of[parameter]] = {"step": step.clone(), **moments}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return True


class _Targets:
    """Crops with their LPIPS features and what counts of them. On a GPU as many frames are kept there as fit.

    What does not fit is made again, and copied from pinned memory, which no step waits for.
    """

    def __init__(self, crops: Crops, perceptual: Perceptual, device: torch.device, precision: Settled) -> None:
        self._crops = crops
        self._precision = precision
        self._perceptual = perceptual
        self._device = device
        self.weights: Tensor | None = None
        self.faces: Callable[[Tensor], Tensor] | None = None
        self.outside = 1.0
        self._inside: dict[int, Tensor] = {}
        self._kept: dict[int, list[Tensor]] = {}
        self._levels: dict[int, Tensor] = {}
        self._room_bytes = _cache_bytes(device)

    def images(self, rows: Sequence[int]) -> Tensor:
        """c_i, [B,3,S,S] in [-1,1]."""
        return to_tensor(torch.stack([self._level(row) for row in rows]))

    def _level(self, row: int) -> Tensor:
        """c_i's bytes, [S,S,3], on the device."""
        if row in self._levels:
            return self._levels[row]
        levels = torch.from_numpy(np.array(self._crops.images[row]))
        if self._device.type == "cpu":
            return levels  # from the file's pages, which the system keeps as long as it can
        levels = (levels.pin_memory() if self._device.type == "cuda" else levels).to(self._device, non_blocking=True)
        if levels.numel() <= self._room_bytes:
            self._room_bytes -= levels.numel()
            self._levels[row] = levels
        return levels

    @torch.no_grad()
    def features(self, rows: Sequence[int], images: Tensor) -> list[Tensor]:
        """LPIPS features of `images`, which are those of `rows`."""
        found = [self._features(row, images[index : index + 1]) for index, row in enumerate(rows)]
        return found[0] if len(found) == 1 else [torch.cat(taps) for taps in zip(*found, strict=True)]

    def _features(self, row: int, image: Tensor) -> list[Tensor]:
        if row in self._kept:
            return self._kept[row]
        features = features_of(self._perceptual, image, self._precision)
        size_bytes = sum(tap.numel() * tap.element_size() for tap in features)
        if size_bytes <= self._room_bytes:
            self._room_bytes -= size_bytes
            self._kept[row] = features
        return features

    def as_counted(self, drawn: Tensor, rows: Sequence[int], images: Tensor) -> Tensor:
        """r_i, where it counts for less partly `images`, which are those of `rows`."""
        if self.faces is None:
            return drawn
        shown = torch.cat([self._face(row, images[index : index + 1], self.faces) for index, row in enumerate(rows)])
        return images.lerp(drawn, self.outside + (1 - self.outside) * shown)

    @torch.no_grad()
    def _face(self, row: int, image: Tensor, faces: Callable[[Tensor], Tensor]) -> Tensor:
        """m_i^d, [1,1,S,S]."""
        if row not in self._inside:
            face = faces(image) > 0.5
            if face.numel() > self._room_bytes:
                return face.float()
            self._room_bytes -= face.numel()
            self._inside[row] = face
        return self._inside[row].float()

    @torch.no_grad()
    def preview(self, state: _State, row: int) -> Preview:
        """A crop and its reconstruction side by side."""
        reconstruction = to_bytes(state.tuned(state.codes([row])))[0]
        pair = np.concatenate([self._crops.images[row], reconstruction], axis=1)
        return Preview("tune", int(self._crops.frames[row]), pair)


@torch.enable_grad()
def _step(
    state: _State,
    generator: Generator,
    perceptual: Perceptual,
    targets: _Targets,
    rows: Sequence[int],
    z: Tensor,
    recipe: Recipe[TuneSettings],
) -> None:
    """One step of Adam on equation 1. Nothing in it waits for the device."""
    settings, precision = recipe.settings, recipe.passes.precision
    images, codes = targets.images(rows), state.codes(rows)
    with float32_mode(precision, codes.device):
        drawn = targets.as_counted(synthesised(state.tuned, codes, recipe.passes), rows, images)
        l2 = mean_squared_error(drawn, images, targets.weights)
        lpips = perceptual.distance(features_of(perceptual, drawn, precision), targets.features(rows, images))
        loss = tuning_loss(l2, lpips, settings.l2_weight, settings.lpips_weight)
        if settings.locality_weight:
            held = _locality(state.tuned, generator, perceptual, codes[:1].detach(), z, recipe)
            loss = loss + settings.locality_weight * held
        loss = loss + _STRAY_WEIGHT * state.strayed()
        state.losses[state.step] = torch.stack((loss, l2.mean(), lpips.mean())).detach()
        state.optimizer.zero_grad()
        loss.backward()
    state.optimizer.step()
    state.step += 1


def _locality(
    tuned: Generator, generator: Generator, perceptual: Perceptual, pivot: Tensor, z: Tensor,
    recipe: Recipe[TuneSettings],
) -> Tensor:
    """L_R of equation 1: near the pivot, but not at it, the tuned generator should draw what the first one drew."""
    settings, precision = recipe.settings, recipe.passes.precision
    with torch.no_grad():
        sample = generator.broadcast(generator.mapping(z.to(pivot), settings.locality_psi))
        codes = locality_codes(pivot, sample, settings.locality_alpha)
        before = synthesised(generator, codes, Passes(precision), "none")
        features = features_of(perceptual, before, precision)
    now = synthesised(tuned, codes, recipe.passes, "none")
    distance = perceptual.distance(features_of(perceptual, now, precision), features)
    return (mean_squared_error(now, before) + distance).mean()


def _epoch_draws(
    frames: int, settings: TuneSettings, z_dim: int, seed: int, epoch: int
) -> tuple[list[int], Tensor]:
    """Order of the frames, and z of every step, [steps,Z], of one epoch."""
    rng = torch.Generator().manual_seed((seed % 2**40) * 2**20 + epoch)
    shuffled = settings.shuffle or settings.batch > 1
    order = torch.randperm(frames, generator=rng).tolist() if shuffled else list(range(frames))
    return order, torch.randn(math.ceil(frames / settings.batch), z_dim, generator=rng)


def _too_large(batch: int, device: torch.device) -> DeviceMemoryError:
    several = f" of {batch} frames" if batch > 1 else ""
    alone = ", use --preset paper, which takes one frame a step" if batch > 1 else ""
    return DeviceMemoryError(
        f"tuning: a step{several} needs more memory than the device {device.type} has left; close other programs, add "
        f"--checkpointing{alone}, use --device cpu, or a smaller --family"
    )


def _require_numbers(losses: Tensor, learning_rate: float) -> None:
    """Stops a tuning that ran away."""
    strange = (~losses.isfinite()).any(1).nonzero()
    if len(strange):
        raise StitchError(
            f"tuning: the loss is no longer a number at step {int(strange[0]) + 1} of {len(losses)}; "
            f"lower the learning rate (it is {learning_rate:g})"
        )


def _cache_bytes(device: torch.device) -> int:
    """How much memory kept features may take."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else _CPU_CACHE_BYTES
