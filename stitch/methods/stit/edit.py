"""Stage 4, editing (section 3.3): one step in latent space for every frame, whose strength may change over time."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stitch.core.errors import EditError
from stitch.core.records import Direction, Edit, Noise, Pivots, Points, StyleDirection, Text
from stitch.families.family import Family, Generator
from stitch.methods.stit.text import text_direction, unknown_words

Codes = Tensor | list[Tensor]
"""What the generator draws from: W+ codes [B,L,D], or one [B,C_l] style per layer where a text edit takes part."""

STRENGTH_LIMIT = 5.0
"""Calibrated strengths end here, on both sides; beyond it faces fall apart."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Edits resolved against a family: directions with their strengths over time.

    Attributes:
        directions: delta w of one step for each slider, [D] or [L,D] each.
        strengths: of the sliders, one curve per direction.
        shifts: for each text edit one step in StyleSpace, [C_l] per layer.
        shift_strengths: of the text edits, one curve per shift.
        notes: sentences that the user should read (words without effect, how many channels move).
    """

    directions: tuple[Tensor, ...] = ()
    strengths: tuple[Points, ...] = ()
    shifts: tuple[tuple[Tensor, ...], ...] = ()
    shift_strengths: tuple[Points, ...] = ()
    notes: tuple[str, ...] = ()

    @torch.no_grad()
    def codes(self, w: Tensor, times_s: Tensor | np.ndarray | Sequence[float], generator: Generator) -> Codes:
        """Edited codes w_i + delta_w: sums of directions, then of StyleSpace shifts.

        Args:
            w: pivots, [B,L,D] float32.
            times_s: [B], when each frame is shown, in seconds into the trimmed clip.
            generator: the tuned generator, whose own layers lead to StyleSpace.
        Returns:
            [B,L,D], or a list of [B,C_l] when a text edit is present.
        Raises:
            ValueError: not one time per code.
        """
        times = np.asarray(times_s, dtype=np.float64)
        if times.shape != (len(w),):
            raise ValueError(f"times_s: got shape {list(times.shape)}, expected [{len(w)}]")
        for direction, curve in zip(self.directions, self.strengths, strict=True):
            w = w + strength_at(curve, times).to(w)[:, None, None] * direction.to(w)
        if not self.shifts:
            return w
        styles = generator.styles(w)
        for shift, curve in zip(self.shifts, self.shift_strengths, strict=True):
            strength = strength_at(curve, times).to(w)[:, None]
            styles = [style + strength * step.to(style) for style, step in zip(styles, shift, strict=True)]
        return styles


def resolve(edits: Sequence[Edit | Text], family: Family) -> Plan:
    """Looks the edits up in a family and checks them.

    Args:
        edits: sliders and texts; they add up.
        family: whose directions, text encoder and channel relevance are used.
    Returns:
        The plan.
    Raises:
        EditError: unknown name, strength out of range or not a number, empty or unknown text, no edit at all, or a text
            where the family has no text edits.
    """
    if not edits:
        raise EditError(f"no edit was given; {_known(family.directions)}")
    sliders = [edit for edit in edits if isinstance(edit, Edit)]
    texts = [edit for edit in edits if isinstance(edit, Text)]
    found = [_direction(edit, family.directions) for edit in sliders]
    shifts: list[tuple[Tensor, ...]] = []
    notes: list[str] = []
    for text in texts:
        shift, text_notes = _style_direction(text, family)
        shifts.append(tuple(layer * shift.unit for layer in shift.shifts))
        notes += text_notes
    return Plan(
        directions=tuple(
            _moved(direction, family) * (1.0 if edit.raw else direction.unit)
            for edit, direction in zip(sliders, found, strict=True)
        ),
        strengths=tuple(_slider_curve(edit) for edit in sliders),
        shifts=tuple(shifts),
        shift_strengths=tuple(_curve(text.strength, f"text edit {text.target!r}", STRENGTH_LIMIT) for text in texts),
        notes=tuple(notes),
    )


def spared(
    edits: Sequence[Edit | Text], ws: Tensor, family: Family
) -> tuple[tuple[Edit | Text, ...], tuple[str, ...]]:
    """The edits as they are made on a person: a child is not made younger (`Direction.adults_below`).

    Args:
        edits: what was asked for.
        ws: the person's pivots, [N,L,D].
        family: which tells children where it can (`Family.child`).
    Returns:
        The edits, and sentences about those that are not made as asked.
    Raises:
        EditError: a strength out of range or not a number.
    """
    if family.child is None or not family.child.beyond(ws):
        return tuple(edits), ()
    made, notes = list[Edit | Text](), []
    for one in edits:
        direction = family.directions.get(one.name) if isinstance(one, Edit) else None
        if isinstance(one, Edit) and direction is not None and direction.adults_below:
            curve = _slider_curve(one)
            if any(value < 0 for _, value in curve):
                points = tuple((time, max(0.0, value)) for time, value in curve)
                one = replace(one, strength=points if len(points) > 1 else points[0][1])
                notes.append(f"edit {one.name!r}: this looks like a child's face, which is not made {direction.low}")
        made.append(one)
    return tuple(made), tuple(notes)


def strength_at(curve: Points, times_s: np.ndarray) -> Tensor:
    """A strength curve read at given times: linear between its points, constant beyond them.

    Args:
        curve: points of increasing time.
        times_s: [B] float64, seconds.
    Returns:
        [B] float64.
    """
    times, strengths = zip(*curve, strict=True)
    return torch.from_numpy(np.interp(times_s, times, strengths))


@torch.no_grad()
def render(generator: Generator, codes: Codes, noise: Noise = "const") -> Tensor:
    """e_i = G(w_i + delta_w; theta_p) (section 3.3).

    Args:
        generator: theta_p.
        codes: as `Plan.codes` returns them.
        noise: "const" adds the stored noise maps, as tuning did.
    Returns:
        [B,3,R,R], nominally in [-1,1], not clipped.
    """
    return generator(codes, noise) if isinstance(codes, Tensor) else generator.from_styles(codes, noise)


def freeze_fine_layers(pivots: Pivots, first: int) -> Pivots:
    """Replaces the fine layers' codes by their mean over the clip, before editing (an option of the authors' program).

    Args:
        pivots: w_i, [N,L,D].
        first: layers from this one on are replaced, 0 <= first <= L.
    Returns:
        New pivots.
    Raises:
        ValueError: there is no such layer.
    """
    if not 0 <= first <= pivots.w.shape[1]:
        raise ValueError(f"first: got {first}, expected 0 to {pivots.w.shape[1]}")
    w = pivots.w.clone()
    w[:, first:] = w[:, first:].mean(0, keepdim=True)
    return Pivots(w)


def _known(directions: Mapping[str, Direction]) -> str:
    return f"known edits: {', '.join(sorted(directions))}" if directions else "this family has no named edits"


def _moved(direction: Direction, family: Family) -> Tensor:
    """A direction's vector, zero in the codes of blocks that it leaves alone: [D], or [L,D]."""
    if direction.blocks_px is None:
        return direction.vector
    least, largest = direction.blocks_px
    shares = direction.vector.new_tensor([least <= side <= largest for side in family.generator.codes_px])
    return direction.vector * shares[:, None]


def _direction(edit: Edit, directions: Mapping[str, Direction]) -> Direction:
    """The direction of that name; the error suggests the nearest spelling."""
    if edit.name in directions:
        return directions[edit.name]
    spellings = {name.lower(): name for name in directions}
    near = difflib.get_close_matches(edit.name.strip().lower(), spellings, n=1, cutoff=0.5)
    hint = f"; did you mean {spellings[near[0]]!r}?" if near else ";"
    raise EditError(f"edit {edit.name!r}: no such edit{hint} {_known(directions)}")


def _style_direction(text: Text, family: Family) -> tuple[StyleDirection, list[str]]:
    """The prompt's direction, and what the user should know about it."""
    if family.text_encoder is None:
        raise EditError(f"text edit {text.target!r}: the {family.name} family has no text edits; use a named one")
    if family.relevance is None:
        raise EditError(
            f"text edit {text.target!r}: this generator has no table of text relevance; measure it once with 'python -m"
            " stitch relevance --out TABLE.safetensors' and the same --family and --generator, then add --relevance"
            " TABLE.safetensors; or use a named edit"
        )
    unknown = unknown_words(family.text_encoder, text.target, text.neutral)
    channels = family.text_channels if text.channels is None else text.channels
    direction = text_direction(
        family.text_encoder,
        family.relevance,
        family.generator.layers,
        replace(text, channels=None if text.beta is not None else channels),
        unit=family.text_unit,
        style_std=family.style_std,
    )
    notes = [f"text edit {text.target!r}: {direction.channels} style channels move"]
    if unknown:
        words = ", ".join(repr(word) for word in unknown)
        notes.append(f"text edit {text.target!r}: the text encoder does not know {words}, so that has no effect")
    return direction, notes


def _slider_curve(edit: Edit) -> Points:
    return _curve(edit.strength, f"edit {edit.name!r}", math.inf if edit.raw else STRENGTH_LIMIT)


def _curve(strength: float | Points, name: str, limit: float) -> Points:
    """A strength as checked points."""
    points = strength if isinstance(strength, tuple | list) else ((0.0, strength),)
    if len(points) == 0:
        raise EditError(f"{name}: no strength was given; give a number, or points of (seconds, strength)")
    checked = tuple((float(time), float(value)) for time, value in points)
    for time, value in checked:
        if not (math.isfinite(time) and math.isfinite(value)):
            raise EditError(f"{name}: strength {value} at {time} s is not a number; give one, usually between -3 and 3")
        if abs(value) > limit:
            raise EditError(f"{name}: strength {value:g} is out of range; give one between {-limit:g} and {limit:g}")
    if any(later[0] <= earlier[0] for earlier, later in zip(checked, checked[1:], strict=False)):
        raise EditError(f"{name}: the times of its points do not increase; sort them and leave out doubles")
    return checked
