"""Every default of the six stages once, with unit and source. A stage receives its own part only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Preset = Literal["paper", "fast", "draft"]
TunedBy = Literal["weights", "features"]
"""What the steps of single frames move in stitching."""
Corner = Literal["bottom-right", "bottom-left", "top-right", "top-left"]
Precision = Literal["auto", "fp32", "tf32", "bf16"]

CONTENT_WEIGHT = 0.01
"""lambda_m of equation 4."""

HELD_CONTENT_WEIGHT = 0.2
"""The same where what tuning missed stays where it is around the face: the ring is easily drawn then, and at the
paper's weight a head shrinks away from it."""

MOST_EPOCHS = 350
"""What PTI takes on a photo (Roich et al. 2021, section 4)."""

@dataclass(frozen=True)
class FaceSettings:
    """Finding and following the face.

    Attributes:
        face: which face, counted over the whole clip from 1, by how surely and how long each is seen.
        threshold: lowest detection score in [0,1].
        min_size_px: a smaller face (side of its box) is refused.
        max_gap_s: longer gaps without a face are left unedited instead of interpolated.
    """

    face: int = 1
    threshold: float = 0.5
    min_size_px: int = 48
    max_gap_s: float = 0.4


@dataclass(frozen=True)
class AlignSettings:
    """Stage 1. Sigmas are the code's 1 and 3 frames at 25 fps; 0 on the centre suits animated clips.

    Attributes:
        size: side of the crops in px, one that the family draws at; None takes the smallest that loses nothing.
        largest: what None takes at most, px; what the frame shows beyond it comes back where an edit changes nothing
            (`StitchingSettings.detail`). None has no limit.
    """

    scale: float = 1.0
    centre_sigma_s: float = 1 / 25
    axes_sigma_s: float = 3 / 25
    size: int | None = None
    largest: int | None = None


@dataclass(frozen=True)
class TuneSettings:
    """Stage 3, equation 1.

    Attributes:
        epochs: how often each frame is seen (section 4: 80).
        least_steps: of all frames together, for clips of few; but no frame is seen more than `MOST_EPOCHS` times.
        learning_rate: Adam's step; None takes the family's own (3e-5 in the paper).
        batch: frames per step (the paper's 1).
        shuffle: take the frames of an epoch in a random order; those of a step of several always are. The paper has 80
            epochs to forget the order in.
        move_pivots: let each frame's pivot move with the weights, where the family says how (ours; the paper holds it
            still). What one frame needs beside its neighbours, such as a blink, is what encoders see last.
        features: by how much more the eyes and the mouth count in the L2 term (ours; the paper weighs all alike). They
            are small, and most of what a viewer looks at.
        outside: how much what lies outside the dilated mask counts, 0 to 1 (ours; the paper's 1).
            No edit shows it, where what tuning missed is laid over the face (`StitchingSettings.detail`).
        locality_weight: lambda_R; 0 is the authors' code.
        locality_alpha, locality_psi: distance from the pivot and truncation of the regulariser's samples.
    """

    epochs: int = 80
    least_steps: int = 0
    learning_rate: float | None = None
    batch: int = 1
    shuffle: bool = False
    move_pivots: bool = False
    features: float = 0.0
    outside: float = 1.0
    l2_weight: float = 10.0
    lpips_weight: float = 1.0
    locality_weight: float = 0.1
    locality_alpha: float = 30.0
    locality_psi: float = 0.5

    def steps(self, frames: int) -> int:
        """Of Adam, for a clip of so many frames: whole epochs."""
        per_epoch = math.ceil(frames / self.batch)
        return per_epoch * max(self.epochs, min(math.ceil(self.least_steps / per_epoch), MOST_EPOCHS))


@dataclass(frozen=True)
class StitchingSettings:
    """Stage 5, equations 2-4.

    Attributes:
        steps: of Adam per frame (100); 0 leaves it at what all frames learn together.
        tuned: what these steps move: a copy of the "weights" for every frame (paper), or what is added to its
            "features" before the last blocks (ours): behind shared steps a few of these, at a third of the price, reach
            the ring as a hundred of those do.
        shared_steps: of Adam on the weights and all frames together, one frame a step, from which every frame then
            starts (ours; the paper starts every frame at theta_p). Its price does not grow with the clip.
        learning_rate: Adam's step; None takes the family's own (3e-4 in the paper).
        content_weight: lambda_m; None takes the family's own, a stage by itself the paper's.
        distance: "l1" is the paper's, "l2" the code's.
        stop_below: stop a frame once its L_b is below this; None never stops (code: 0.005 or 0.002, in L2).
        mask_from: which picture is parsed: "union" of both, "edited" (paper) or "crop" (code).
        dilation: radius as a share of the crop's side (code: 50 px at 1024).
        chunk: frames tuned at once; None picks it from the memory.
        detail: share of what tuning missed of the source (tone, strands, pores, grain) that is laid over the face
            wherever the edit changes nothing, 0 to 1 (ours, see `stit.detail`; the paper has none).
    """

    steps: int = 100
    tuned: TunedBy = "weights"
    shared_steps: int = 0
    learning_rate: float | None = None
    content_weight: float | None = None
    distance: Literal["l1", "l2"] = "l1"
    stop_below: float | None = None
    mask_from: Literal["union", "edited", "crop"] = "union"
    dilation: float = 50 / 1024
    chunk: int | None = None
    detail: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.detail <= 1:
            raise ValueError(f"detail: got {self.detail}, expected 0 to 1")
        if self.tuned not in get_args(TunedBy):
            raise ValueError(f"tuned: got {self.tuned!r}, expected 'weights' or 'features'")


@dataclass(frozen=True)
class MergeSettings:
    """Stage 6.

    Attributes:
        feather: radius of the soft edge as a share of the dilation radius, 0 to 1 (code: half).
        badge: write "AI-edited" in a corner of every frame, for everybody to see (ours).
        badge_place: in which corner.
        badge_language: in the words of which language (`stitch.video.trust.disclosure.LANGUAGES`).
        watermark: mark the edited pixels invisibly (ours, see `stitch.video.trust.watermark`).
        credentials: sign the result (ours, see `stitch.video.trust.credentials`).
        blend: how the face joins the frame: over a soft edge, or by Poisson's equation (Perez et al. 2003), which other
            methods take and studies compare with.
    """

    feather: float = 0.5
    badge: bool = False
    badge_place: Corner = "bottom-right"
    badge_language: str = "en"
    watermark: bool = True
    credentials: bool = True
    blend: Literal["feather", "poisson"] = "feather"

    def __post_init__(self) -> None:
        if not 0 <= self.feather <= 1:
            raise ValueError(f"feather: got {self.feather}, expected 0 to 1; a wider edge would reach the face")


@dataclass(frozen=True)
class VideoSettings:
    """Reading and writing. `start_s`, `end_s` trim; `crf` is x264's quality (lower is better)."""

    start_s: float = 0.0
    end_s: float | None = None
    crf: int = 16
    max_side_px: int = 8192


@dataclass(frozen=True)
class ComputeSettings:
    """How the two tuning loops compute; see `stitch.runtime.precision`.

    Attributes:
        precision: of the networks' passes; "auto" goes by the device. The paper's is fp32.
        checkpointing: keep less of the generator's forward pass and do it again on the way back, block by
            block: for small GPUs. Counted at 1024 px: a drawing keeps 133 MB instead of 845 MB, and for a moment the
            features of one block.
    """

    precision: Precision = "auto"
    checkpointing: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on besides the clip, the edits and the family."""

    video: VideoSettings = field(default_factory=VideoSettings)
    faces: FaceSettings = field(default_factory=FaceSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    tune: TuneSettings = field(default_factory=TuneSettings)
    stitching: StitchingSettings = field(default_factory=StitchingSettings)
    merge: MergeSettings = field(default_factory=MergeSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    seed: int = 0

    @staticmethod
    def preset(name: Preset, presets: "Presets | None" = None) -> "Settings":
        """The settings behind a preset's name.

        Args:
            name: "paper" is the paper's constants; "fast" and "draft" see each frame less often.
            presets: of the family; None takes `PRESETS`.
        Raises:
            ValueError: name is not a preset.
        """
        known = PRESETS if presets is None else presets
        if name not in known:
            raise ValueError(f"preset: got {name!r}, expected {', '.join(map(repr, known))}")
        return known[name]


Presets = Mapping[Preset, Settings]
"""What each preset means to a family."""

PRESETS: Presets = {
    "paper": Settings(tune=TuneSettings(least_steps=MOST_EPOCHS)),
    "fast": Settings(
        tune=TuneSettings(epochs=12, least_steps=105, shuffle=True, outside=0.3, locality_weight=0.0),
        stitching=StitchingSettings(
            steps=4, tuned="features", shared_steps=30, content_weight=HELD_CONTENT_WEIGHT, detail=1.0
        ),
    ),
    "draft": Settings(
        tune=TuneSettings(epochs=5, least_steps=44, shuffle=True, outside=0.3, locality_weight=0.0),
        stitching=StitchingSettings(
            steps=3, tuned="features", shared_steps=25, content_weight=HELD_CONTENT_WEIGHT, detail=1.0
        ),
    ),
}
"""Those of families that bring none of their own; "paper" is the paper's constants."""
