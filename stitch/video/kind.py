"""Whether a file is a photo or a clip, by what is in it.

Pictures that move (GIF, WebP, PNG and AVIF of several frames) are clips.
"""

from pathlib import Path

from PIL import Image

from stitch.runtime.disk import PICTURE_SUFFIXES, is_file

# Nothing else is asked to open a file: some of Pillow's readers start other programs.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
_SEVERAL_ARE_ONE = ("MPO", "TIFF")  # further pictures beside the photo, such as depth, or pages
_OTHER_SUFFIXES = (".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif")
_RAW_VIDEO_SUFFIXES = (".mjpeg", ".mjpg")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")


def is_photo(path: Path) -> bool:
    """Whether a file is one picture, by its content; by its name only where it cannot be opened as any."""
    ending = path.suffix.lower()
    if ending in _RAW_VIDEO_SUFFIXES:
        return False
    if not is_file(path):  # nothing there, or a pipe, which would be waited for
        return ending in (*PICTURE_SUFFIXES, *_OTHER_SUFFIXES)
    try:
        with open_photo(path) as image:
            return image.format in _SEVERAL_ARE_ONE or not getattr(image, "is_animated", False)
    except Image.DecompressionBombError:
        return True
    except Exception:  # no picture, or a damaged one; Pillow's readers raise many kinds
        return ending in (*PICTURE_SUFFIXES, *_OTHER_SUFFIXES) or is_heic(path)


def open_photo(path: Path) -> Image.Image:
    """A picture as Pillow opens it, nothing decoded yet.

    Args:
        path: the file.
    Raises:
        Exception: of many kinds: no picture, a damaged one, or one of far too many pixels.
    """
    try:
        from pillow_heif import register_heif_opener  # only where the user has installed it
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])


def is_heic(path: Path) -> bool:
    """Whether a file says that it is a HEIC photo, which phones make and Pillow alone does not read."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS
