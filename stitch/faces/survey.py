"""One survey a clip: its frames are searched for faces once, kept in pieces of some seconds, and linked into persons.

A clip of up to `WHOLE_S` is surveyed whole, whatever part of it is asked for, so that a person keeps its number. Of a
longer one the stretches of `WHOLE_S` that the part touches are surveyed: two seconds out of hours cost minutes, and
numbers stay the same for all parts within the same stretches.

    <folder>/<key>/<first frame>.npz     what was found in a piece, and its frames made small, by which cuts are found

The key covers the clip's content, the networks that looked, and the threshold. A piece is written at once and whole,
so that a survey that was broken off goes on after the last one; a damaged piece is made anew.
"""

import math
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stitch.core import geometry
from stitch.core.errors import RunError
from stitch.core.events import Event, Preview, Progress
from stitch.core.images import to_tensor
from stitch.core.records import ClipInfo, Surveyed
from stitch.core.settings import FaceSettings, Settings
from stitch.faces.linking import Detection, Embed, distinct, people
from stitch.families.family import Detector, Family
from stitch.runtime import runs
from stitch.runtime.disk import disk_errors, whole
from stitch.runtime.fingerprint import fingerprint_of
from stitch.video import files
from stitch.video.shots import HEIGHT, WIDTH, Thumbnail, change_scores, find_shots, reduced, thumbnail

WHOLE_S = 180.0
"""Clips up to this long are surveyed whole, longer ones in stretches of it."""
FORMAT = 1
SURVEYS_KEPT = 20
_PIECE_S = 10.0
_IDENTITY_EVERY_S = 0.5
_PREVIEW_EVERY_S = 1.0


@dataclass(frozen=True, eq=False)
class Piece:
    """What was found in n frames in a row, F faces in all, in the order of the frames.

    Attributes:
        pictures: [n,HEIGHT,WIDTH,3] uint8, the frames made small.
        counts: [n] int64, faces in each frame.
        boxes: [F,4] float32 frame px.
        scores: [F] float32.
        landmarks: [F,5|68,2] float32 frame px.
        identities: [F,K] float32, NaN where it was not taken.
    """

    pictures: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    identities: np.ndarray


def survey(
    source: Path, settings: Settings, family: Family, folder: Path | None = None
) -> Generator[Event, None, Surveyed]:
    """Whose faces a clip shows and where; no frame is searched twice.

    Args:
        source: the clip.
        settings: the threshold and the longest gap of the part about faces count; the trim only in a clip longer than
            `WHOLE_S`.
        family: loaded.
        folder: where surveys are kept; None takes one in the user's cache folder.
    Yields:
        Progress in frames, and a Preview every second.
    Returns:
        Everybody in the clip, or in the stretch of it that holds the part.
    Raises:
        VideoError: the clip cannot be read.
        RunError: the folder cannot be written.
    """
    kept = _Kept(source, settings, family, folder)
    info, rate = kept.info, float(kept.info.rate)
    embed = _embed(family)
    frames: Generator[np.ndarray, None, None] | None = None
    at = 0
    try:
        for number, (first, length) in enumerate(kept.spans):
            if not kept.holds(number):
                if frames is None or at != first:
                    if frames is not None:
                        frames.close()
                    start_s = info.start_s + first / rate
                    frames = files.frames(replace(info, start_s=start_s, frames=info.frames - first))
                some = islice(frames, length)
                kept.keep(number, (yield from look(some, family.detector, info, settings.faces, embed, first)))
                at = first + length
            yield Progress("track", first + length, info.frames)
    finally:
        if frames is not None:
            frames.close()
    if folder is None:
        _tidy(kept.folder)
    return link(kept, info, settings.faces)


def unsearched(source: Path, settings: Settings, family: Family, folder: Path | None = None) -> int:
    """How many frames `survey` would still have to search: 0 when it would return at once.

    Args and raises as `survey`.
    """
    kept = _Kept(source, settings, family, folder)
    return sum(length for number, (_, length) in enumerate(kept.spans) if not kept.holds(number))


def look(
    frames: Iterable[np.ndarray],
    detector: Detector,
    info: ClipInfo,
    settings: FaceSettings,
    embed: Embed | None = None,
    first: int = 0,
) -> Generator[Event, None, Piece]:
    """Search frames for faces.

    Args:
        frames: [H,W,3] uint8 RGB each.
        detector: finds faces in one frame.
        info: of the clip that the frames are of.
        settings: the threshold counts.
        embed: tells persons apart.
        first: number of the first frame in `info`.
    Yields:
        Progress in frames of `info`, and a Preview every second.
    Returns:
        What was found.
    Raises:
        ValueError: there is no frame.
    """
    rate = float(info.rate)
    pictures: list[np.ndarray] = []
    found: list[list[Detection]] = []
    for number, frame in enumerate(frames, first):
        faces = detector.detect(frame, settings.threshold)
        if number % max(1, round(_PREVIEW_EVERY_S * rate)) == 0:
            yield Preview("track", number, frame)
        # Identities are costly: they are taken twice a second, and whenever the number of faces changes.
        changed = not found or len(found[-1]) != len(faces.boxes)
        identify = embed if changed or number % _identity_every(info.rate) == 0 else None
        found.append(distinct(frame, faces, identify))
        pictures.append(reduced(frame))
        yield Progress("track", number + 1, info.frames)
    if not found:
        raise ValueError("frames: got none, expected at least one")
    everybody = [face for here in found for face in here]
    known = next((face.identity for face in everybody if face.identity is not None), np.empty(0))
    unknown = np.full(len(known), np.nan)
    return Piece(
        pictures=np.stack(pictures),
        counts=np.array([len(here) for here in found]),
        boxes=_stacked([face.box for face in everybody], (4,)),
        scores=np.array([face.score for face in everybody], np.float32),
        landmarks=_stacked([face.landmarks for face in everybody], (5, 2)),
        identities=_stacked([unknown if face.identity is None else face.identity for face in everybody], known.shape),
    )


def link(pieces: Sequence[Piece], info: ClipInfo, settings: FaceSettings) -> Surveyed:
    """Link what was found into persons, and count them.

    Args:
        pieces: of all frames, in order; they may be read from a disk whenever they are asked for.
        info: of the clip, or of the stretch that the pieces are of.
        settings: the threshold and the longest gap count.
    Returns:
        The survey.
    """
    detections = [here for piece in pieces for here in _detections(piece)]
    thumbnails = _Thumbnails(pieces)
    changes = change_scores(thumbnails)
    shots = find_shots(thumbnails, changes)
    persons = people(detections, shots, settings, float(info.rate))
    count = len(detections)
    points = persons[0].seen[0].landmarks.shape if persons else (5, 2)
    boxes = np.full((len(persons), count, 4), np.nan, np.float32)
    scores = np.full((len(persons), count), np.nan, np.float32)
    landmarks = np.full((len(persons), count, *points), np.nan, np.float32)
    for number, person in enumerate(persons):
        boxes[number, person.frames] = [one.box for one in person.seen]
        scores[number, person.frames] = [one.score for one in person.seen]
        landmarks[number, person.frames] = [one.landmarks for one in person.seen]
    return Surveyed(info, boxes, scores, landmarks, shots, changes)


class _Kept(Sequence[Piece]):
    """A survey's pieces on disk.

    Attributes:
        info: what is surveyed.
        spans: (first frame in `info`, number of frames) of each piece.
        folder: where they lie.
    """

    def __init__(self, source: Path, settings: Settings, family: Family, folder: Path | None) -> None:
        whole = files.probe(source, replace(settings.video, start_s=0.0, end_s=None))
        bounds, rate = _stretches(whole, files.probe(source, settings.video)), whole.rate
        first, last = bounds[0], bounds[-1]
        self._first = first
        self.info = replace(whole, frames=last - first, start_s=float(first / rate), end_s=float(last / rate))
        # A piece begins where identities are taken anyway.
        step = round(_PIECE_S / _IDENTITY_EVERY_S) * _identity_every(rate)
        self.spans = [
            (start - first, min(step, after - start))
            for before, after in zip(bounds, bounds[1:], strict=False) for start in range(before, after, step)
        ]
        networks = [fingerprint_of(family, "detector", "identity"), family.generator.resolution]
        clip = runs.clip_of(source)
        key = runs.key_of([FORMAT, clip, networks, settings.faces.threshold])
        self.folder = (folder or runs.cache() / "surveys") / f"{clip['sha256'][:16]}-{key}"  # found again by its clip
        self._latest: tuple[int, Piece] | None = None

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, number: Any) -> Any:
        if self._latest is None or self._latest[0] != number:
            piece = self._read(range(len(self))[number])
            if piece is None:
                raise RunError(f"{self._path(number)}: is gone or damaged; run the same command again")
            self._latest = number, piece
        return self._latest[1]

    def holds(self, number: int) -> bool:
        """Whether a piece is there and sound."""
        piece = self._read(number)
        self._latest = None if piece is None else (number, piece)
        return piece is not None

    def keep(self, number: int, piece: Piece) -> None:
        """Write a piece, whole or not at all."""
        path = self._path(number)
        with disk_errors(f"what was found in the clip, {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **vars(piece))

    def _read(self, number: int) -> Piece | None:
        try:
            with np.load(self._path(number), allow_pickle=False) as arrays:
                piece = Piece(**{field.name: arrays[field.name] for field in fields(Piece)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        faces = len(piece.boxes)
        sound = (
            piece.pictures.shape == (self.spans[number][1], HEIGHT, WIDTH, 3)
            and len(piece.counts) == len(piece.pictures)
            and piece.counts.sum() == faces == len(piece.scores) == len(piece.landmarks) == len(piece.identities)
        )
        return piece if sound else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{self._first + self.spans[number][0]}.npz"


class _Thumbnails(Sequence[Thumbnail]):
    """The thumbnails of all pieces, made when they are asked for, so that a long clip's are never held at once."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        ends = np.cumsum([len(piece.counts) for piece in pieces])
        self._length = int(ends[-1])

        @lru_cache(maxsize=16)
        def at(frame: int) -> Thumbnail:
            number = int(np.searchsorted(ends, frame, side="right"))
            return thumbnail(pieces[number].pictures[frame - ends[number]])

        self._at = at

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        chosen = range(self._length)[key]
        return [self._at(frame) for frame in chosen] if isinstance(chosen, range) else self._at(chosen)


def _stretches(whole: ClipInfo, part: ClipInfo) -> list[int]:
    """Bounds, in frames, of the equal stretches that must be surveyed: of the only one of a short clip."""
    number = math.ceil(whole.frames / (WHOLE_S * whole.rate))
    bounds = [whole.frames * index // number for index in range(number + 1)]
    first = round(part.start_s * float(whole.rate))
    begin = max(index for index, bound in enumerate(bounds) if bound <= first)
    end = min(index for index, bound in enumerate(bounds) if bound >= first + part.frames)
    return bounds[begin : end + 1]


def _detections(piece: Piece) -> list[list[Detection]]:
    """What was found in each frame."""
    parts = (piece.boxes, piece.landmarks, piece.identities)
    boxes, points, identities = ([row.astype(np.float64) for row in part] for part in parts)
    rows = zip(boxes, points, piece.scores.tolist(), identities, strict=True)
    faces = [
        Detection(box, points, score, None if np.isnan(identity).any() or not len(identity) else identity)
        for box, points, score, identity in rows
    ]
    ends = np.cumsum(piece.counts).tolist()
    return [faces[end - count : end] for end, count in zip(ends, piece.counts.tolist(), strict=True)]


def _stacked(rows: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(rows).astype(np.float32) if rows else np.empty((0, *shape), np.float32)


def _identity_every(rate: Fraction) -> int:
    """Frames between two times that identities are taken."""
    return max(1, round(_IDENTITY_EVERY_S * rate))


def _embed(family: Family) -> Embed:
    """Identity of a face in a frame, to tell persons apart."""
    size = family.generator.resolution
    device = next(family.generator.parameters()).device

    @torch.no_grad()
    def embed(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        quad = geometry.corners(*geometry.quads_from_landmarks(landmarks[None]))[0]
        crop = to_tensor(geometry.sample_crop(frame, quad, size)[None]).to(device)
        return family.identity(crop).float().cpu().numpy()[0]

    return embed


def _tidy(newest: Path) -> None:
    """Delete all but the newest surveys of the user's cache folder."""
    with suppress(OSError):
        newest.touch()
        others = sorted(newest.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in others[:-SURVEYS_KEPT]:
            shutil.rmtree(path, ignore_errors=True)
