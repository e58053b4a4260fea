"""The miniature family: drawn faces, and networks trained on them that come with Stitch."""

from pathlib import Path

from stitch.families.about import About, Slider, lazily
from stitch.store.local import Part

LICENCE = "MIT; trained on drawn faces, no real person"
WEIGHTS = Path(__file__).parent / "weights"
SAMPLE = Path(__file__).parent / "samples" / "demo.mp4"
"""The clip that comes with Stitch."""

ROWS = (
    ("clip", 5830612, "bc4c5c98d8d164034d8f42d315cd6b320bbcace8fbecde18c06711a9401ca1e1"),
    ("detector", 1640516, "8c67f5691ed6b2c0fde4d6e7105ce92a8986cb742aba73be99286060b70c8da8"),
    ("directions", 4992, "45cf60af3f440e2705156a036ff735232026bdf9a1eca8fcd2f9c2e0d3eb9104"),
    ("encoder", 3140784, "79d53dd96f8b4d2eefe68326f80daa3ad7bd48382bae43b1c70ea7de268efc44"),
    ("generator", 2822796, "8fed509e7bf8a15a5ce4f6b9c766ba9fe0d35e9433bded1af13d44648d5cc42e"),
    ("identity", 3251336, "3d66dafe67c1379ae196998df2ed990d8b5bdb4c302e62563b9dddf80bbe1f2e"),
    ("parser", 639336, "d9614f6a32539df9acc003902a32bded7d8e422d4d5dccbbfd4479832d5f0eee"),
    ("perceptual", 453184, "0c2dfa80d4c8f31087448ef4375faa0375a8cf57640c87482eaac02fecdd076f"),
    ("regressor", 877256, "1addf072704ac386b19002e60ba88b3d4f36876e125813f0713afe64fd49c99a"),
    ("relevance", 214464, "408d1a7fb5ae5d1b5c6dea2660c245c6c10cb1b0d48656a4c6fbc041fb26d5c0"),
)
"""Name, bytes and SHA-256 of every file; `python -m stitch.families.miniature.train --rows` prints them anew."""

SLIDERS = (
    Slider("smile", "Expression", "the corners of the mouth", "sad", "smiling"),
    Slider("mouth_open", "Expression", "how far the mouth is open", "closed", "open"),
    Slider("eyes_open", "Expression", "how far the eyes are open", "closed", "wide open"),
    Slider("brow_raise", "Expression", "the height of the brows", "lowered", "raised"),
    Slider("age", "Person", "wrinkles, grey hair", "younger", "older"),
    Slider("gender", "Person", "jaw, brows and lips", "masculine", "feminine"),
    Slider("beard", "Person", "from shaved over stubble to a full beard", "shaved", "bearded"),
    Slider("freckles", "Person", "freckles on nose and cheeks", "none", "many"),
    Slider("hair_length", "Hair", "from cropped to below the shoulders", "short", "long"),
    Slider("hair_lightness", "Hair", "from black over brown to blond", "dark", "blond"),
    Slider("glasses", "Style", "from none over thin wire to thick frames", "none", "thick"),
    Slider("lipstick", "Style", "colour of the lips", "none", "red"),
    Slider("makeup", "Style", "eye shadow and lashes", "none", "strong"),
    Slider("yaw", "Pose", "turns the head", "left", "right"),
    Slider("pitch", "Pose", "nods the head", "up", "down"),
)

_HOME = f"{__name__}.family"

ABOUT = About(
    order=1,
    example=SAMPLE,
    looks={
        "smile": {"sliders": {"smile": 2.5}},
        "older": {"sliders": {"age": 2.5}},
        "beard": {"sliders": {"beard": 2.5, "glasses": 2.0}},
    },
    name="miniature",
    title="Miniature: drawn faces, comes with Stitch",
    label="Miniature",
    licence=LICENCE,
    parts=tuple(
        Part("miniature", name, f"{name}.safetensors", size, digest, LICENCE, folder=WEIGHTS)
        for name, size, digest in ROWS
    ),
    sliders=SLIDERS,
    load=lazily(_HOME, "load"),
    picture_tower=lazily(_HOME, "picture_tower"),
    sample=lazily(f"{__name__}.sample", "write_sample"),
    sample_options=("scene", "truth"),
)
