"""Stage 5, stitching tuning (section 3.4, equations 2-4): repair the seam around the edited face, frame by frame."""

import copy
from collections.abc import Callable, Sequence
from collections.abc import Generator as Stage
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor, nn

from stitch.core.errors import DeviceMemoryError
from stitch.core.events import ChunkHalved, Progress
from stitch.core.records import Kind, Regions
from stitch.core.settings import CONTENT_WEIGHT, StitchingSettings
from stitch.families.family import Generator, Parser
from stitch.methods.stit import masks
from stitch.methods.stit.losses import stitching_losses, synthesised
from stitch.networks.ending import Ending
from stitch.runtime.memory import attempted, fits, kept_bytes
from stitch.runtime.optimizer import Rates, Recipe, optimizer, row_at, set_rates
from stitch.runtime.precision import Passes, Settled, float32_mode, forward_pass

# More than a picture differs when drawn again in another order of operations (measured with the miniature family: 6e-6
# in float32, 0.16 in bf16; TF32's three more digits make an eighth of bf16's).
_ROUNDING = {"fp32": 2e-5, "tf32": 0.03, "bf16": 0.25}
_CPU_BUDGET_BYTES = 2**30
_CPU_CHUNK = 8
_CUDA_CHUNK = 64
_CUDA_BUDGET_SHARE = 0.6
FEATURE_RATES = Rates(0.03, settle=0.5, betas=(0.9, 0.99))
"""Of residuals, in the root mean square of the features; see docs/performance.md."""
_COPIES_OF_WEIGHTS = 4  # weights, gradient, and Adam's two moments
_COPIES_OF_KEPT = 3.7  # of what a pass keeps for its way back: with its gradients, and what is between two steps


@dataclass(frozen=True, eq=False)
class Stitched:
    """A tuned chunk.

    Attributes:
        images: s_i, [F,3,S,S], not clipped.
        losses: [steps + 1, F, 2], L_b and L_m before each step, and of `images`.
    """

    images: Tensor
    losses: Tensor


@torch.no_grad()
def regions(parser: Parser, crops: Tensor, edited: Tensor, settings: StitchingSettings) -> Regions:
    """m_i, m_i^d and b_i of a batch (section 3.4).

    The paper parses the edited picture, the authors' code the crop. The union, our default, keeps an edit whole that
    grows the outline (hair, beard), and leaves nothing of a face behind that shrank. Where eyes, nose and mouth are
    (`masks.inner_face`) an edit grows no outline: what hides them in the crop stays before the edited face.

    Args:
        parser: of 19 classes.
        crops: c_i, [B,3,S,S] in [-1,1].
        edited: e_i, the same shape; values beyond [-1,1] are clipped for the parser.
        settings: which picture is parsed, and the dilation.
    Returns:
        The masks, [B,1,S,S] each.
    Raises:
        ValueError: `settings.mask_from` is unknown.
    """
    pictures = {"union": (crops, edited), "edited": (edited,), "crop": (crops,)}.get(settings.mask_from)
    if pictures is None:
        raise ValueError(f"mask_from: got {settings.mask_from!r}, expected 'union', 'edited' or 'crop'")
    labels = [parser(picture.clamp(-1, 1)) for picture in pictures]
    faces = [masks.foreground(one) for one in labels]
    size = crops.shape[-1]
    face = torch.stack(faces).amax(0)
    if settings.mask_from == "union":
        face = torch.where(masks.inner_face(labels[0])[:, None], faces[0], face)
    face = masks.resize(face, size)
    return masks.regions(face, masks.radius_px(settings.dilation, size))


def faces(parser: Parser, crops: Tensor, settings: StitchingSettings) -> Tensor:
    """m_i^d of the crops alone, whatever is parsed beside them in an edit; [B,3,S,S] -> [B,1,S,S]."""
    return regions(parser, crops, crops, replace(settings, mask_from="crop")).dilated_mask


@dataclass(frozen=True, eq=False)
class Target:
    """What stitching holds frames to; see `stitch`."""

    codes: Tensor | Sequence[Tensor]
    crops: Tensor
    edited: Tensor
    regions: Regions


def stitch_together(
    generator: Generator, frames: int, target: Callable[[int], Target], recipe: Recipe[StitchingSettings]
) -> Stage[Progress, None, Generator]:
    """A generator whose seams are small in every frame: equation 4 for all frames at once, one of them a step (ours).

    From there a frame needs few steps of its own, or none, and what does not change from frame to frame cannot flicker.

    Args:
        generator: theta_p; it is left as it is.
        frames: how many there are, at least 1.
        target: of one frame.
        recipe: its `shared_steps` are taken.
    Yields:
        Progress in steps.
    Returns:
        A tuned copy, frozen.
    Raises:
        DeviceMemoryError: a frame needs more memory than there is.
    """
    settings, precision = recipe.settings, recipe.passes.precision
    tuned = copy.deepcopy(generator).requires_grad_(False)
    weights, rates = dict(tuned.named_parameters()), recipe.rates
    adam = optimizer(((kind, weights[name].requires_grad_(True)) for name, kind in tuned.kinds().items()
                      if rates.share(kind) > 0), rates)

    def take(step: int) -> None:
        one = target(row_at(step, frames))
        with torch.enable_grad(), float32_mode(precision, one.crops.device):
            drawn = synthesised(tuned, one.codes, recipe.passes)
            border, content = _distances(drawn, one.crops, one.edited, one.regions, settings)
            adam.zero_grad()
            _loss(border, content, settings).backward()
        adam.step()

    for step in range(settings.shared_steps):
        set_rates(adam, rates, step, settings.shared_steps)
        if not fits(partial(take, step)):
            raise _too_large(next(generator.parameters()).device)
        yield Progress("stitching", step + 1, settings.shared_steps, "step")
    return tuned.requires_grad_(False)


def stitch(
    generator: Generator,
    codes: Tensor | Sequence[Tensor],
    crops: Tensor,
    edited: Tensor,
    regions: Regions,
    recipe: Recipe[StitchingSettings],
) -> Stage[Progress | ChunkHalved, None, Tensor]:
    """Stitched faces s_i of a batch: every frame tunes a copy of theta_p, or features, of its own (section 3.4).

    Args:
        generator: theta_p, or what `stitch_together` made of it; it is left as it is.
        codes: what the edited pictures were drawn from, [B,L,D] or one [B,C_l] style per layer.
        crops: c_i, [B,3,S,S] in [-1,1].
        edited: e_i, the same shape.
        regions: of the batch.
        recipe: steps, distance, chunk and so on; Adam's rates; precision of the generator's passes while it is tuned.
            The size of a chunk changes the result by rounding only; the pictures returned are drawn in float32.
    Yields:
        Progress in steps of single frames; a ChunkHalved when the memory ran out and fewer frames are tried at once.
    Returns:
        s_i, [B,3,S,S], not clipped. A frame with an empty mask is its crop; with no steps the others are as drawn.
    Raises:
        DeviceMemoryError: a single frame needs more memory than there is.
        ValueError: steps or chunk is out of range.
    """
    settings = recipe.settings
    if settings.steps < 0 or (settings.chunk is not None and settings.chunk < 1):
        raise ValueError(f"settings: got steps {settings.steps}, chunk {settings.chunk}, expected >= 0 and >= 1")
    faces = regions.dilated_mask.flatten(1).any(1).nonzero().flatten()
    stitched = crops.clone()
    if settings.steps == 0 and len(faces):
        with torch.no_grad():
            stitched[faces] = synthesised(generator, _rows(codes, faces), Passes())
        return stitched
    done, total = 0, len(faces) * settings.steps
    size = settings.chunk or chunk_for(generator)
    while len(faces):
        rows = faces[:size]
        stage = stitch_chunk(
            generator,
            _rows(codes, rows),
            crops[rows],
            edited[rows],
            Regions(regions.mask[rows], regions.dilated_mask[rows], regions.boundary[rows]),
            recipe,
        )
        chunk = yield from attempted(_counted(stage, done, total))
        if chunk is None:
            size = _halved(len(rows), crops.device)
            yield ChunkHalved(f"stitching: the memory ran out with {len(rows)} frames at once; it goes on with {size}, "
                              f"which changes pictures by rounding only (--chunk {size} starts so)", size)
            continue
        stitched[rows] = chunk.images
        faces = faces[size:]
        done += len(rows) * settings.steps
    return stitched


def stitch_chunk(
    generator: Generator,
    codes: Tensor | Sequence[Tensor],
    crops: Tensor,
    edited: Tensor,
    regions: Regions,
    recipe: Recipe[StitchingSettings],
) -> Stage[Progress, None, Stitched]:
    """Tunes F frames at once, each something of its own: min over theta of L_b + lambda_m * L_m (equation 4).

    The losses of different frames are only added up, and Adam works on each number by itself: every frame goes the way
    it would go alone. A frame whose L_b falls below `settings.stop_below` keeps the picture it had then (as the
    authors' code, before the step); the chunk ends when all have.

    In the paper theta is all weights, stacked on a leading frame axis here. Of `settings.tuned` "features" it is a
    residual of the features that the last two blocks take (ours): it reaches a place of the ring without moving any
    other, so few steps do, and the generator still draws what lies between.

    Content starts at a residual of zero but for rounding, and the slope of an L1 residual is its sign: alone, noise
    would choose the way (measured: pictures 0.04 apart after 100 steps, where 2e-6 are now). So `edited` gives way to
    what the stack itself draws at first, wherever the two differ by rounding only.

    Args:
        generator, codes, crops, edited, regions, recipe: as for `stitch`, for F frames with a face. Weights that do not
            matter are not tuned: those not of the generator's `kinds`, nor under styles the layers that lead to them.
            The recipe's rates are of weights; features have `FEATURE_RATES`.
    Yields:
        Progress in steps of single frames.
    Returns:
        Pictures and losses.
    """
    settings, precision = recipe.settings, recipe.passes.precision
    frames = len(crops)
    own = (_own_features if settings.tuned == "features" else _own_weights)(generator, codes, recipe)
    moved = [parameter for _, parameter in own.parameters]
    adam = optimizer(own.parameters, own.rates)
    kept = torch.zeros_like(crops)
    stopped = torch.zeros(frames, dtype=torch.bool, device=crops.device)
    losses: list[Tensor] = []
    for step in range(settings.steps):
        with torch.enable_grad(), float32_mode(precision, crops.device):
            images = own.draw(recipe.passes)
            if step == 0:
                edited = torch.where((images - edited).abs() < _ROUNDING[precision], images, edited).detach()
            border, content = _distances(images, crops, edited, regions, settings)
            loss = _loss(border, content, settings)
        losses.append(torch.stack((border, content), 1).detach())
        if settings.stop_below is not None:
            fresh = (border.detach() < settings.stop_below) & ~stopped
            kept = torch.where(fresh[:, None, None, None], images.detach(), kept)
            stopped |= fresh
            if stopped.all():
                break
        set_rates(adam, own.rates, step, settings.steps)
        adam.zero_grad()
        with float32_mode(precision, crops.device):
            loss.backward(inputs=moved)
        adam.step()
        yield Progress("stitching", frames * (step + 1), frames * settings.steps, "step")
    with torch.no_grad():
        kept = torch.where(stopped[:, None, None, None], kept, own.draw(Passes()))
        losses.append(torch.stack(_distances(kept, crops, edited, regions, settings), 1))
    return Stitched(kept, torch.stack(losses))


@dataclass(frozen=True, eq=False)
class _Own:
    """What the frames of a chunk tune for themselves.

    Attributes:
        parameters: with their kinds.
        rates: of Adam.
        draw: the frames with it, float32.
    """

    parameters: list[tuple[Kind, Tensor]]
    rates: Rates
    draw: Callable[[Passes], Tensor]


def _own_weights(generator: Generator, codes: Tensor | Sequence[Tensor], recipe: Recipe[StitchingSettings]) -> _Own:
    """A copy of the generator for each frame."""
    rates = recipe.rates
    if isinstance(codes, Tensor) and rates.affine == 0:
        with torch.no_grad():
            codes = generator.styles(codes)
    stack = generator.stacked(len(codes if isinstance(codes, Tensor) else codes[0])).requires_grad_(False)
    weights = dict(stack.named_parameters())
    tuned = [(kind, weights[name].requires_grad_(True)) for name, kind in stack.kinds().items()
             if rates.share(kind) > 0 and (isinstance(codes, Tensor) or kind != "affine")]
    return _Own(tuned, rates, partial(synthesised, stack, codes))


def _own_features(generator: Generator, codes: Tensor | Sequence[Tensor], recipe: Recipe[StitchingSettings]) -> _Own:
    """Residuals of each frame's features, in one generator."""
    with torch.no_grad():
        styles = generator.styles(codes) if isinstance(codes, Tensor) else codes

    @cache
    def ending(precision: Settled) -> Ending:
        with forward_pass(precision, styles[0].device):
            return generator.ending(styles, checkpointing=recipe.passes.checkpointing)

    precision = recipe.passes.precision
    residuals = [torch.zeros(shape, device=styles[0].device).requires_grad_(True)
                 for shape in ending(precision).shapes]

    def draw(passes: Passes) -> Tensor:
        with forward_pass(passes.precision, styles[0].device):
            return ending(passes.precision).draw(residuals).float()

    return _Own([("feature", residual) for residual in residuals], FEATURE_RATES, draw)


def chunk_for(generator: Generator) -> int:
    """How many frames to tune at once when the settings leave it open.

    The answer is the same whatever memory happens to be free, so that a run repeats exactly and its price is known
    beforehand; where others use the device too, `stitch` halves the chunk when the memory runs out.

    Args:
        generator: theta_p, on the device to tune on.
    Returns:
        At least 1.
    """
    device = next(generator.parameters()).device
    if device.type == "cuda":
        budget_bytes, most = _CUDA_BUDGET_SHARE * torch.cuda.mem_get_info(device)[1], _CUDA_CHUNK
    else:
        budget_bytes, most = _CPU_BUDGET_BYTES, _CPU_CHUNK
    return int(min(max(budget_bytes // frame_bytes(generator), 1), most))


def frame_bytes(generator: Generator) -> int:
    """Memory that tuning takes for each frame of a chunk, estimated (within a third of what was measured).

    Args:
        generator: theta_p.
    Returns:
        Bytes.
    """
    weights = dict(generator.named_parameters())
    tuned_bytes = sum(weights[name].numel() * weights[name].element_size() for name in generator.kinds())
    with torch.device("meta"):
        codes = torch.empty(1, generator.num_ws, generator.w_dim)
    return round(_COPIES_OF_WEIGHTS * tuned_bytes + _COPIES_OF_KEPT * kept_bytes(cast(nn.Module, generator), codes))


def _halved(frames: int, device: torch.device) -> int:
    """How many frames to try after as many as this were too many."""
    if frames == 1:
        raise _too_large(device)
    return frames // 2


def _too_large(device: torch.device) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"stitching: a single frame needs more memory than the device {device.type} has left; close other programs"
        ", add --checkpointing and --chunk 1, use --device cpu, or a smaller --family"
    )


def _counted(stage: Stage[Progress, None, Stitched], done: int, total: int) -> Stage[Progress, None, Stitched]:
    """A chunk's own progress as that of all frames, `done` of `total` frame-steps being over."""
    with closing(stage):
        while True:
            try:
                event = next(stage)
            except StopIteration as end:
                return end.value
            yield replace(event, done=done + event.done, total=total)


def _rows(codes: Tensor | Sequence[Tensor], rows: Tensor) -> Tensor | list[Tensor]:
    """The codes of some frames."""
    return codes[rows] if isinstance(codes, Tensor) else [style[rows] for style in codes]


def _loss(border: Tensor, content: Tensor, settings: StitchingSettings) -> Tensor:
    """Equation 4, added up over the frames."""
    weight = CONTENT_WEIGHT if settings.content_weight is None else settings.content_weight
    return (border + weight * content).sum()


def _distances(
    stitched: Tensor, crops: Tensor, edited: Tensor, regions: Regions, settings: StitchingSettings
) -> tuple[Tensor, Tensor]:
    """L_b and L_m, [F] each."""
    return stitching_losses(stitched, crops, edited, regions.mask, regions.boundary, settings.distance)
