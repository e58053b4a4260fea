"""Which files each family of weights needs, where they lie, and what they must be.

Parts of the family ffhq, by which `stitch.families.ffhq.load` finds its files:

    encoder         e4e: encoder, its 1024 generator ("decoder.*") and latent_avg, .pt
    parser          BiSeNet, .pth                  identity    ArcFace IR-SE-50, .pth
    detector        RetinaFace ResNet-50, .pth     landmarks   FAN, .pth; only with the tracker "fan"
    perceptual      AlexNet of torchvision, .pth   clip        ViT-B/32 of OpenAI in open_clip's names, .safetensors
    relevance       StyleCLIP's fs3, .npy          style_std   StyleCLIP's S_mean_std, a pickle of arrays
    direction.NAME  one W direction each: age, smile, pose (InterFaceGAN, .pt), gender, eyes_open, mouth_open, pitch,
                    yaw, roll (.npy, float64 [18,512])
    generator, generator.nvidia   the generator by itself, in both layouts; only fetched when they are named

Sources are read by `stitch.store.download`: packages and the Hugging Face Hub first, plain addresses last. Where
files lie on this machine is the business of `stitch.store.local`. A user's own folder (--weights, or STITCH_WEIGHTS)
comes before both.

`python weights.py` prints the table's rows for the bundled files as they are now, to put here after a training.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stitch.core.errors import StitchError, WeightsError
from stitch.core.events import finished
from stitch.store.checksums import digest_of
from stitch.store.local import BUNDLED, Part, files_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from stitch.families.family import Family

FAMILIES = ("miniature", "ffhq")
TRACKERS = ("family", "retinaface", "fan")


DRAWN = "MIT; trained on drawn faces, no real person"
STYLEGAN = "NVIDIA Source Code License, non-commercial; trained on FFHQ (CC BY-NC-SA 4.0)"
CELEBA = "code MIT; trained on CelebAMask-HQ, non-commercial research"
ARCFACE = "code MIT; training data for non-commercial research"

FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"
RAW = "https://raw.githubusercontent.com"
STIT = f"{RAW}/rotemtzaban/STIT/fac087f2b87f75ce85b1222cb5e0e4ea24474348"
E4E = f"{RAW}/omertov/encoder4editing/99ea50578695d2e8a1cf7259d8ee89b23eea942b"
DISTILLED = f"{RAW}/EvgenyKashin/stylegan2-distillation/c1ff31449a22e8fd78ed5f84999a0dfd013de4c2/stylegan2directions"

TABLE: tuple[Part, ...] = (
    Part("miniature", "clip", "clip.safetensors", 5830612,
         "bc4c5c98d8d164034d8f42d315cd6b320bbcace8fbecde18c06711a9401ca1e1", DRAWN),
    Part("miniature", "detector", "detector.safetensors", 1640516,
         "8c67f5691ed6b2c0fde4d6e7105ce92a8986cb742aba73be99286060b70c8da8", DRAWN),
    Part("miniature", "directions", "directions.safetensors", 4992,
         "45cf60af3f440e2705156a036ff735232026bdf9a1eca8fcd2f9c2e0d3eb9104", DRAWN),
    Part("miniature", "encoder", "encoder.safetensors", 3140784,
         "79d53dd96f8b4d2eefe68326f80daa3ad7bd48382bae43b1c70ea7de268efc44", DRAWN),
    Part("miniature", "generator", "generator.safetensors", 2822796,
         "8fed509e7bf8a15a5ce4f6b9c766ba9fe0d35e9433bded1af13d44648d5cc42e", DRAWN),
    Part("miniature", "identity", "identity.safetensors", 3251336,
         "3d66dafe67c1379ae196998df2ed990d8b5bdb4c302e62563b9dddf80bbe1f2e", DRAWN),
    Part("miniature", "parser", "parser.safetensors", 639336,
         "d9614f6a32539df9acc003902a32bded7d8e422d4d5dccbbfd4479832d5f0eee", DRAWN),
    Part("miniature", "perceptual", "perceptual.safetensors", 453184,
         "0c2dfa80d4c8f31087448ef4375faa0375a8cf57640c87482eaac02fecdd076f", DRAWN),
    Part("miniature", "regressor", "regressor.safetensors", 877256,
         "1addf072704ac386b19002e60ba88b3d4f36876e125813f0713afe64fd49c99a", DRAWN),
    Part("miniature", "relevance", "relevance.safetensors", 214464,
         "b6be10ef9477f1849c209b55b0b8005f98b451cc828c508393d527edda72ede1", DRAWN),
    Part("ffhq", "encoder", "e4e_ffhq_encode.pt", 1201649680,
         "2ace1d9a8c05c10a399bcd500b8dda118f759ff1aac89dbdab7435f2136a0999", STYLEGAN, (
             "hf://AIRI-Institute/HairFastGAN/pretrained_models/encoder4editing/e4e_ffhq_encode.pt",
             "hf://public-data/e4e/e4e_ffhq_encode.pt",
             "hf://akhaliq/JoJoGAN_e4e_ffhq_encode/e4e_ffhq_encode.pt",
             "hf://wmpscc/StyleGene/e4e_ffhq_encode.pt",
         )),
    Part("ffhq", "parser", "79999_iter.pth", 53289463,
         "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567", CELEBA, (
             "hf://ManyOtherFunctions/face-parse-bisent/79999_iter.pth",
             "hf://vivym/face-parsing-bisenet/79999_iter.pth",
             "hf://leonelhs/facexlib/parsing_bisenet.pth",
             f"{FACEXLIB}/v0.2.0/parsing_bisenet.pth",
         )),
    Part("ffhq", "identity", "model_ir_se50.pth", 175367323,
         "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28", ARCFACE, (
             "hf://AIRI-Institute/StyleFeatureEditor/pretrained_models/model_ir_se50.pth",
             "hf://AIRI-Institute/HairFastGAN/pretrained_models/ArcFace/ir_se50.pth",
             "hf://camenduru/PuLID/facexlib/recognition_arcface_ir_se50.pth",
             f"{FACEXLIB}/v0.1.0/recognition_arcface_ir_se50.pth",
         )),
    Part("ffhq", "detector", "detection_Resnet50_Final.pth", 109497761,
         "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d", "MIT", (
             "hf://leonelhs/facexlib/detection_Resnet50_Final.pth",
             "hf://camenduru/PuLID/facexlib/detection_Resnet50_Final.pth",
             f"{FACEXLIB}/v0.1.0/detection_Resnet50_Final.pth",
         ), also=("detection_mobilenet0.25_Final.pth",)),
    Part("ffhq", "perceptual", "alexnet-owt-7be5be79.pth", 244408911,
         "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", "BSD (torchvision, LPIPS)", (
             "hf://CSWRY/VOSR/torch_cache/checkpoints/alexnet-owt-7be5be79.pth",
             "hf://blanchon/image-gs-models-utils/torch/checkpoints/alexnet-owt-7be5be79.pth",
             "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
         )),
    Part("ffhq", "clip", "open_clip_model.safetensors", 605143284,
         "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31", "MIT (OpenAI)", (
             "hf://timm/vit_base_patch32_clip_224.openai/open_clip_model.safetensors",
         ), also=("open_clip_pytorch_model.bin",)),
    Part("ffhq", "relevance", "fs3.npy", 6193280, "ef9dc0a49a4e2ffe1c81b8632baab6e3a4466726", "MIT (StyleCLIP)", (
             "hf://rinong/stylegan-nada-models/fs3.npy",
             f"{STIT}/editings/styleclip_global/fs3.npy",
             f"{RAW}/orpatashnik/StyleCLIP/f87a47f7fc39e19a1f6c88293875692b303bf168/global_torch/npy/ffhq/fs3.npy",
         )),
    Part("ffhq", "style_std", "S_mean_std", 75092,
         "d35879347e5df307287404d08b9166c4e304c544c07e5c0d345d346bde77656f", "MIT (StyleCLIP)", (
             f"{STIT}/editings/styleclip_global/S_mean_std",
         )),
    Part("ffhq", "direction.age", "age.pt", 2808,
         "50074516b1629707d89b5e43d6b8abd1792212fa3b961a87a11323d6a5222ae0", "MIT (e4e)", (
             "hf://spaces/akhaliq/JoJoGAN/e4e/editings/interfacegan_directions/age.pt",
             f"{E4E}/editings/interfacegan_directions/age.pt",
         )),
    Part("ffhq", "direction.smile", "smile.pt", 2808,
         "817a7e732b59dee9eba862bec8bd7e8373568443bc9f9731a21cf9b0356f0653", "MIT (e4e)", (
             "hf://spaces/akhaliq/JoJoGAN/e4e/editings/interfacegan_directions/smile.pt",
             f"{E4E}/editings/interfacegan_directions/smile.pt",
         )),
    Part("ffhq", "direction.pose", "pose.pt", 37624,
         "736e0eacc8488fa0b020a2e7bd256b957284c364191dfea693705e5d06d43e7d", "MIT (e4e)", (
             "hf://spaces/akhaliq/JoJoGAN/e4e/editings/interfacegan_directions/pose.pt",
             f"{E4E}/editings/interfacegan_directions/pose.pt",
         )),
    Part("ffhq", "direction.gender", "gender.npy", 73856,
         "f1ac40508d9f5b7df499378f60766d93fe4e5f5461b63fff8ed14233e9b15a9e", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/gender.npy",
             f"{DISTILLED}/gender.npy",
         )),
    Part("ffhq", "direction.eyes_open", "eyes_open.npy", 73856,
         "6115c94f42449aaa1f7064171f32bdc6d6c92aba4db7905fdbbd31a1483fde90", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/eyes_open.npy",
             f"{DISTILLED}/eyes_open.npy",
         )),
    Part("ffhq", "direction.mouth_open", "mouth_open.npy", 73856,
         "b4852b360bbc70380f2151e5d7204a895ccf8d22d6a951dbb6f65264774dab39", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/mouth_open.npy",
             f"{DISTILLED}/mouth_open.npy",
         )),
    Part("ffhq", "direction.pitch", "pitch.npy", 73856,
         "28fd460a828f56f83c6c22ce4c5251664dab5d7d5da3ad840517c6df9d07c385", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/pitch.npy",
             f"{DISTILLED}/pitch.npy",
         )),
    Part("ffhq", "direction.yaw", "yaw.npy", 73856,
         "600bbadd2569a8382f444498bf995b3484b9151972601ddfacd80dfa4d5740cd", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/yaw.npy",
             f"{DISTILLED}/yaw.npy",
         )),
    Part("ffhq", "direction.roll", "roll.npy", 73856,
         "b4e0cc381482a79cd8901e0997cb1d4ffdf6c8e597306da32a040f290e0fed88", "CC BY-NC 4.0", (
             f"{STIT}/editings/w_directions/roll.npy",
             f"{DISTILLED}/roll.npy",
         )),
    Part("ffhq", "landmarks", "alignment_WFLW_4HG.pth", 193670248,
         "bbfd137307a4c7debd5c283b9b0ce539466cee417ac0a155e184d857f9f2899c", "Apache-2.0", (
             "hf://leonelhs/facexlib/alignment_WFLW_4HG.pth",
             "hf://camenduru/PuLID/facexlib/alignment_WFLW_4HG.pth",
             f"{FACEXLIB}/v0.1.0/alignment_WFLW_4HG.pth",
         ), optional="by --tracker fan"),
    Part("ffhq", "generator", "stylegan2-ffhq-config-f.pt", 381462551,
         "bae494ef77e32a9cd1792a81a3c167692a0e64f6bcd8b06592ff42917e2ed46e", STYLEGAN, (
             "hf://akhaliq/OneshotCLIP-stylegan2-ffhq/stylegan2-ffhq-config-f.pt",
             "hf://akhaliq/jojogan-stylegan2-ffhq-config-f/stylegan2-ffhq-config-f.pt",
         ), optional="the encoder's file has the generator too"),
    Part("ffhq", "generator.nvidia", "ffhq.pkl", 381624121,
         "a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c", STYLEGAN, (
             "hf://AIRI-Institute/HairFastGAN/pretrained_models/StyleGAN/ffhq.pkl",
             "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq.pkl",
         ), optional="the encoder's file has the generator too"),
)

def parts_of(family: str, only: Sequence[str] = (), optional: bool = False) -> list[Part]:
    """A family's parts.

    Args:
        family: a name of `FAMILIES`.
        only: names of parts; "direction" names all directions. None takes all that are not optional.
        optional: take the optional ones too.
    Raises:
        WeightsError: no such family or part.
    """
    rows = [row for row in TABLE if row.family == family]
    if family not in FAMILIES:
        raise WeightsError(f"family {family!r}: not known; the families are {', '.join(FAMILIES)}")
    if not only:
        return [row for row in rows if optional or not row.optional]
    names = [row.name for row in rows]
    for name in only:
        if name not in (*names, "direction"):
            raise WeightsError(f"family {family}: no part {name!r}; it has {', '.join(names)}")
    return [row for row in rows if row.name in only or ("direction" in only and row.name.startswith("direction."))]


def needed(family: str, tracker: str = "family") -> list[Part]:
    """The parts that `load_family` will ask for.

    Args:
        family: a name of `FAMILIES`.
        tracker: a name of `TRACKERS`.
    Raises:
        WeightsError: no such family, or it cannot be used with this tracker.
    """
    parts = parts_of(family)
    if family == "miniature":
        filmed = {"family": [], "retinaface": ["detector"], "fan": ["detector", "landmarks"]}[tracker]
        return parts + (parts_of("ffhq", filmed) if filmed else [])
    return parts + (parts_of("ffhq", ["landmarks"]) if tracker == "fan" else [])


def find(family: str, part: str, folder: Path | None = None) -> Path:
    """Where a family's file is, after making sure that it is the right one.

    Args:
        family: a name of `FAMILIES`.
        part: a name in the table.
        folder: the user's own files, looked at first and not held to the table.
    Returns:
        An existing file.
    Raises:
        WeightsError: no such family or part, or the file is missing or not what the table says.
    """
    rows = parts_of(family, [part])
    return files_of(rows, folder)[rows[0]]


def load_family(
    name: str, where: "torch.device", tracker: str = "family", folder: Path | None = None,
    generator: Path | None = None, relevance: Path | None = None,
) -> "Family":
    """Load a family, verified, on a device. Nothing is fetched: `shelf.fetch(needed(...))` does that.

    Args:
        name: a name of `FAMILIES`.
        where: the device its networks go to.
        tracker: "family" keeps the family's own face detector (ffhq: RetinaFace), "retinaface" takes that one, "fan"
            adds the landmarks of FAN.
        folder: the user's own files.
        generator: the user's own generator in place of the family's.
        relevance: the table behind text edits that was measured for the generator.
    Raises:
        WeightsError: the family is not available, or a file is missing or not what it should be.
    """
    files = files_of(needed(name, tracker), folder)
    published = {row.name: path for row, path in files.items() if row.family == "ffhq"}
    from stitch.families import ffhq

    if name == "ffhq":
        family = ffhq.load(published, where, "fan" if tracker == "fan" else "retinaface")
    else:
        from stitch.families.miniature.family import load

        family = load(where)
        if tracker != "family":
            family = replace(family, detector=ffhq.detector(published, tracker, where))
    from stitch.families.custom import with_generator, with_relevance

    if generator is not None:
        family = with_generator(family, generator)
    return family if relevance is None else with_relevance(family, relevance)


def load_picture_tower(name: str, where: "torch.device", folder: Path | None = None) -> "nn.Module":
    """CLIP's picture tower of a family, [B,3,S,S] in [-1,1] -> [B,K]; only `stitch relevance` needs it.

    Args:
        name: a name of `FAMILIES`.
        where: the device it goes to.
        folder: the user's own files.
    Raises:
        WeightsError: its file is missing or not what it should be.
    """
    path = find(name, "clip", folder)
    if name == "ffhq":
        from stitch.families import ffhq

        return ffhq.picture_tower({"clip": path}, where)
    from stitch.families.miniature.language import PictureTower, SmallClip
    from stitch.networks.formats.checkpoints import load_module

    return PictureTower(load_module(path, SmallClip)).to(where)


def device(name: str = "auto") -> "torch.device":
    """Where to compute, chosen once, at a door, before the first computation.

    On a CPU, numbers too small for full precision count as zero from here on: they slow tuning by a half. A GPU
    computes in whole float32 from here on; where less will do, `stitch.runtime.precision` says so.

    Args:
        name: "auto" takes a CUDA device if there is one; else "cpu", "cuda" or "mps".
    Raises:
        StitchError: this machine has no such device.
    """
    import torch

    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        raise StitchError(f"device {name}: this machine has none that torch can use; leave --device out")
    return torch.device(name)


def rows_on_disk() -> str:
    """The table's rows for the bundled files as they are now, as Python."""
    rows = []
    for path in sorted(BUNDLED.glob("*.safetensors")):
        digest = finished(digest_of(path, stage=path.name))
        rows.append(f'    Part("miniature", "{path.stem}", "{path.name}", {path.stat().st_size},')
        rows.append(f'         "{digest}", DRAWN),')
    return "\n".join(rows)


if __name__ == "__main__":
    print(rows_on_disk())
