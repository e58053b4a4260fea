"""The words that tell people of an edit: in the corner of a picture, and beside it where it is published."""

from typing import Final

LANGUAGES: Final = ("en", "de", "es", "fr", "it", "nl", "pt")
"""In which there are words; the first serves where none is chosen."""

_BADGES: Final = {
    "en": "AI-edited", "de": "Mit KI bearbeitet", "es": "Editado con IA", "fr": "Modifié par IA",
    "it": "Modificato con IA", "nl": "Bewerkt met AI", "pt": "Editado com IA",
}
_SENTENCES: Final = {
    "en": "The face in this {} was edited with AI",
    "de": "Das Gesicht in diesem {} wurde mit KI bearbeitet",
    "es": "El rostro de {} se ha editado con IA",
    "fr": "Le visage dans cette {} a été modifié par IA",
    "it": "Il volto in {} è stato modificato con IA",
    "nl": "Het gezicht in deze {} is bewerkt met AI",
    "pt": "O rosto {} foi editado com IA",
}
_MEDIA: Final = {
    "en": ("video", "picture"), "de": ("Video", "Bild"), "es": ("este vídeo", "esta imagen"), "fr": ("vidéo", "image"),
    "it": ("questo video", "questa immagine"), "nl": ("video", "foto"), "pt": ("neste vídeo", "nesta imagem"),
}


def badge(language: str = LANGUAGES[0]) -> str:
    """What a badge says.

    Args:
        language: one of `LANGUAGES`.
    Raises:
        ValueError: there are no words in it.
    """
    return _BADGES[_known(language)]


def sentence(told: str, photo: bool = False, language: str = LANGUAGES[0]) -> str:
    """A sentence to publish with a result.

    Args:
        told: the edits in a line; empty leaves them out.
        photo: it is a picture and not a clip.
        language: one of `LANGUAGES`.
    Raises:
        ValueError: there are no words in it.
    """
    said = _SENTENCES[_known(language)].format(_MEDIA[language][photo])
    return f"{said} (Stitch: {told})." if told else f"{said} (Stitch)."


def _known(language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"language: got {language!r}, expected one of {', '.join(LANGUAGES)}")
    return language
