"""The miniature family's sliders, as people read them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Slider:
    """One named edit.

    Attributes:
        name: of the edit and of the drawn factor it moves.
        group: heading under which doors show it.
        description: what it does.
        low, high: words for the two ends.
    """

    name: str
    group: str
    description: str
    low: str
    high: str


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
