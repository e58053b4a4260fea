"""The full-size family: the published networks for real faces. Its parts, by which `family.load` finds its files:

    encoder         e4e: encoder, its 1024 generator ("decoder.*") and latent_avg, .pt
    parser          BiSeNet, .pth                  identity    ArcFace IR-SE-50, .pth
    detector        RetinaFace ResNet-50, .pth     landmarks   FAN, .pth; only with the tracker "fan"
    perceptual      AlexNet of torchvision, .pth   clip        ViT-B/32 of OpenAI in open_clip's names, .safetensors
    relevance       StyleCLIP's fs3, .npy          style_std   StyleCLIP's S_mean_std, a pickle of arrays
    direction.NAME  one W direction each: age, smile, pose (InterFaceGAN, .pt), gender, eyes_open, mouth_open, pitch,
                    yaw, roll (.npy, float64 [18,512])
    directions      the family portrait's, for the sliders that nobody published; they come with Stitch
    child           the family portrait's, which tells children in the W that both have
    generator, generator.nvidia   the generator by itself, in both layouts; only fetched when they are named
    generator.alone               it without the discriminator, for a family that has the same W: --generator ffhq

Sources are read by `stitch.store.download`: packages and the Hugging Face Hub first, plain addresses last.
"""

from dataclasses import replace

from stitch.families import portrait
from stitch.families.about import About, Slider, lazily
from stitch.store.local import Part

LICENCE = "non-commercial (NVIDIA Source Code License; FFHQ: CC BY-NC-SA 4.0)"

STYLEGAN = "NVIDIA Source Code License, non-commercial; trained on FFHQ (CC BY-NC-SA 4.0)"
CELEBA = "code MIT; trained on CelebAMask-HQ, non-commercial research"
ARCFACE = "code MIT; training data for non-commercial research"

FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"
RAW = "https://raw.githubusercontent.com"
STIT = f"{RAW}/rotemtzaban/STIT/fac087f2b87f75ce85b1222cb5e0e4ea24474348"
E4E = f"{RAW}/omertov/encoder4editing/99ea50578695d2e8a1cf7259d8ee89b23eea942b"
DISTILLED = f"{RAW}/EvgenyKashin/stylegan2-distillation/c1ff31449a22e8fd78ed5f84999a0dfd013de4c2/stylegan2directions"

PARTS: tuple[Part, ...] = (
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
    Part("ffhq", "generator.alone", "ffhq.pt", 132699565,
         "48a146c502117a283437d1c14f755a9416eb9255694e0964403f95b14fc094e9", STYLEGAN, (
             "hf://AIRI-Institute/HairFastGAN/pretrained_models/StyleGAN/ffhq.pt",
         ), also=("stylegan2-ffhq-config-f.pt",), optional="by --generator ffhq"),
    *(replace(row, family="ffhq") for row in portrait.ABOUT.parts if row.name in ("directions", "child")),
)

PUBLISHED = (
    Slider("age", "Person", "how old the face looks", "younger", "older", adults_below=True),
    Slider("gender", "Person", "how masculine or feminine the face looks", "feminine", "masculine"),
    Slider("smile", "Expression", "the corners of the mouth", "serious", "smiling"),
    Slider("mouth_open", "Expression", "how far the mouth is open", "closed", "open"),
    Slider("eyes_open", "Expression", "how far the eyes are open", "closed", "wide open"),
    Slider("pose", "Pose", "turns the head", "to the right", "to the left"),
    Slider("yaw", "Pose", "turns the head", "to the left", "to the right"),
    Slider("pitch", "Pose", "nods the head", "down", "up"),
    Slider("roll", "Pose", "tilts the head", "to the left", "to the right"),
)
LENT = tuple(one for one in portrait.SLIDERS if one.name not in {slider.name for slider in PUBLISHED})
"""What nobody published: the portrait family's own, whose generator was distilled from this one and has the same W."""
SLIDERS = (*PUBLISHED, *LENT)

_HOME = f"{__name__}.family"

ABOUT = About(
    order=2,
    name="ffhq",
    title="Full size: real faces, 1024 px",
    label="Full size",
    licence=LICENCE,
    parts=PARTS,
    sliders=SLIDERS,
    load=lazily(_HOME, "load"),
    picture_tower=lazily(_HOME, "picture_tower"),
    lends={"retinaface": ("detector",), "fan": ("detector", "landmarks")},
    detector=lazily(_HOME, "detector"),
    wants_gpu=True,
)
