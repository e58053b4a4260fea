import numpy as np
import torch

from stitch.core.looks import SUGGESTIONS
from stitch.families.miniature.training import clip
from stitch.families.miniature.training.loop import Schedule
from stitch.families.portrait import WEIGHTS
from stitch.families.portrait.language import FaceClip
from stitch.families.portrait.training import language
from stitch.families.portrait.training.captions import BOOK, NAMES
from stitch.networks.formats.checkpoints import load_module
from tests.families.portrait.test_encoder import small


def numbers(**changes: float) -> np.ndarray:
    """A face that is average but for some attributes."""
    return np.array([changes.get(name, 0.0) for name in NAMES])


def said(count: int = 200, **changes: float) -> str:
    rng = np.random.default_rng(0)
    return " | ".join(BOOK.caption(numbers(**changes), rng) for _ in range(count))


def test_captions_are_true_to_the_numbers():
    assert "smil" in said(smile=1.5) and "frown" not in said(smile=1.5, frown=2.0)
    assert "blond hair" in said(hair_blond=1.5) and "brown hair" not in said(hair_dark=1.5)
    assert "woman" not in said(gender=1.5) and "man" not in said(gender=-1.5).replace("woman", "").replace("human", "")
    assert "surprised" in said(brows=1.5, mouth_open=1.5, eyes_open=1.5)


def test_captions_speak_of_beards_with_men_alone_and_of_no_hair_colour_with_the_bald():
    assert "bearded" in said(gender=1.0, beard=1.5)
    assert "beard" not in said(gender=-1.0, beard=1.5) + said(gender=-1.0, beard=-1.5)
    assert "black hair" not in said(hair_amount=-2.0, hair_dark=2.0)


def test_train_teaches_both_towers_and_writes_them(tmp_path):
    rng = np.random.default_rng(0)
    bright = rng.random(60)
    images = np.broadcast_to((40 + 160 * bright)[:, None, None, None], (60, 32, 32, 3)).astype(np.uint8)
    found = {name: rng.random(60) for name in NAMES} | {"skin_light": bright, "age": bright}
    schedules = (
        Schedule(steps=30, batch=16, learning_rate=3e-3, log_every=10),
        Schedule(steps=2, batch=8, learning_rate=1e-3),
        Schedule(steps=20, batch=16, learning_rate=3e-3, log_every=10),
    )
    given = language.faces(images, found, held=10)
    model = language.train(given, small(), tmp_path, schedules)
    loaded = load_module(tmp_path / "clip.safetensors", FaceClip)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    # stored in half precision
    torch.testing.assert_close(loaded.encode_image(pictures), model.encode_image(pictures), rtol=0.02, atol=2e-3)
    torch.testing.assert_close(loaded(["an old face"]), model(["an old face"]), rtol=0.02, atol=0.02)
    assert loaded.unknown_words("a face with zebra stripes") == ["zebra", "stripes"]
    assert "less gender" in (tmp_path / "texts" / "log.jsonl").read_text().splitlines()[-1]


def test_faces_show_rare_attributes_more_often():
    found = {name: np.linspace(0, 1, 40) for name in NAMES}
    given = language.faces(np.zeros((40, 32, 32, 3), np.uint8), found, held=4)
    assert len(given.odds) == 36 and given.odds.max() > given.odds.min() == 1
    pictures = given.shown(torch.tensor([0, 3]), torch.Generator().manual_seed(0))
    assert pictures.shape == (2, 3, language.SIZE, language.SIZE)


def test_shipped_clip_tells_a_smile_from_its_opposite_and_knows_what_the_page_suggests():
    model = load_module(WEIGHTS / "clip.safetensors", FaceClip)
    ends = torch.nn.functional.normalize(model(["a smiling face", "a happy face", "a serious face", "a face"]), dim=1)
    smiling, happy, serious = ends[:3] - ends[3]
    assert torch.cosine_similarity(smiling, happy, dim=0) > torch.cosine_similarity(smiling, serious, dim=0) + 0.3
    assert not [word for text in SUGGESTIONS for word in model.unknown_words(text)]


def test_prompts_name_what_is_measured():
    assert {name for name, *_ in language.PROMPTS} <= set(NAMES) and set(language.AIMS) <= set(NAMES)
    assert isinstance(BOOK, clip.Phrasebook)
