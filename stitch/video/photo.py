"""A photo is a clip of one frame: read upright in its own colours, written with their profile and its transparency."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from stitch.core.errors import VideoError
from stitch.core.records import ClipInfo
from stitch.core.settings import VideoSettings
from stitch.runtime import disk
from stitch.runtime.disk import PICTURE_SUFFIXES, disk_errors, flush, keep_whole, partial
from stitch.video.kind import is_heic, open_photo
from stitch.video.timeline import DEFAULT_RATE

QUALITY = 95
"""Of JPEG and WebP, in percent: no loss that shows."""

_TURNS_DEG = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}


@dataclass(frozen=True, eq=False)
class _Photo:
    """A decoded photo.

    Attributes:
        pixels: [H,W,3] uint8 RGB, upright, in the space of the profile.
        alpha: [H,W] uint8, or None where all of it is opaque.
        profile: the ICC profile of the pixels; empty means sRGB.
        rotation_deg: clockwise turn that the camera asked for.
        notes: sentences about what had to be adapted.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes
    rotation_deg: int
    notes: tuple[str, ...]


def probe(path: Path, settings: VideoSettings) -> ClipInfo:
    """What a photo is, as a clip of one frame.

    Args:
        path: the file, of which `is_photo` is true.
        settings: the largest size taken; a photo has no range to choose from.
    Raises:
        VideoError: missing, empty, damaged, too large, of a kind that cannot be read, or the range leaves it out.
    """
    if settings.start_s > 0:
        raise VideoError(f"{path}: a photo has no start and no end; leave both out")
    photo = _read(path, settings.max_side_px)
    height, width = photo.pixels.shape[:2]
    return ClipInfo(
        path, width, height, DEFAULT_RATE, 1, 0.0, float(1 / DEFAULT_RATE), False, photo.rotation_deg, photo.notes
    )


def frames(info: ClipInfo) -> Generator[np.ndarray, None, None]:
    """The photo's one frame.

    Args:
        info: from `probe`.
    Yields:
        [H,W,3] uint8 RGB, upright, in the photo's own colour space.
    Raises:
        VideoError: the file is no longer the one that was probed.
    """
    yield _unchanged(info).pixels


class PhotoWriter:
    """Writes one picture as `stitch.video.files.Writer` does a clip: whole or not at all.

    Attributes:
        path: the final name; its ending chooses between PNG, JPEG and WebP.
        notes: sentences for the user about what had to be adapted.
    """

    def __init__(
        self, path: Path, info: ClipInfo, source: ClipInfo, note: str = "", seal: Callable[[Path], None] | None = None
    ) -> None:
        """Prepare to write; nothing is created yet.

        Args:
            path: the file to make.
            info: size to write.
            source: the photo whose colour profile is kept, and its transparency where the size is its own.
            note: what was done to it, stored in the file.
            seal: see `stitch.video.files.Writer`.
        Raises:
            VideoError: the name is not one of a picture.
        """
        self.path = Path(path)
        self.notes: tuple[str, ...] = ()
        self._info, self._source, self._note = info, source, note
        self._seal, self._partial = seal, partial(self.path)
        self._written = False
        if self.path.suffix.lower() not in PICTURE_SUFFIXES:
            endings = " or ".join(PICTURE_SUFFIXES)
            raise VideoError(f"{path}: the result is a photo; give it a name that ends in {endings}")

    def __enter__(self) -> "PhotoWriter":
        return self

    def add(self, frame: np.ndarray) -> None:
        """Write the frame.

        Args:
            frame: [H,W,3] uint8 RGB of the info's size.
        Raises:
            ValueError: another shape or dtype, or a second frame.
            VideoError: the disk is full or the file cannot be written.
        """
        expected = (self._info.height, self._info.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ValueError(f"frame: got {frame.shape} {frame.dtype}, expected {expected} uint8")
        if self._written:
            raise ValueError("PhotoWriter: got a second frame, expected one")
        source = _unchanged(self._source)
        image = Image.fromarray(frame)
        options = _options(self.path.suffix.lower(), self._note)
        if source.alpha is not None and source.alpha.shape == frame.shape[:2]:
            image.putalpha(Image.fromarray(source.alpha))
            if options["format"] == "JPEG":
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
                self.notes += ("JPEG keeps no transparency: the photo lies on white; PNG and WebP keep it",)
        if source.profile:
            options["icc_profile"] = source.profile
        with disk_errors(str(self.path), VideoError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            image.save(self._partial, **options)
            flush(self._partial)
        self._written = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with disk_errors(str(self.path), VideoError):
            try:
                if kind is None and self._written:
                    if self._seal is not None:
                        self._seal(self._partial)
                    keep_whole(self._partial, self.path)
            finally:
                self._partial.unlink(missing_ok=True)
        if kind is None and not self._written:
            raise VideoError(f"{self.path}: there was no frame to write")


def _unchanged(info: ClipInfo) -> _Photo:
    """The photo again, which must be the one that was probed."""
    photo = _read(info.path, max(info.width, info.height))
    if photo.pixels.shape[:2] != (info.height, info.width):
        raise VideoError(f"{info.path}: the file has changed since it was first read; start again")
    return photo


def _read(path: Path, max_side_px: int) -> _Photo:
    """Decode a photo; its size is looked at first."""
    if not disk.exists(path):
        raise VideoError(f"{path}: there is no such file; check the name")
    if path.is_dir():
        raise VideoError(f"{path}: this is a folder; name a photo")
    try:
        with open_photo(path) as image:
            width, height = image.size
            if max(width, height) > max_side_px:
                raise VideoError(
                    f"{path}: {width}x{height} px; at most {max_side_px} px are taken on a side: scale it down first"
                )
            return _decoded(image)
    except VideoError:
        raise
    except Image.DecompressionBombError as error:
        raise VideoError(f"{path}: far too many pixels; at most {max_side_px} px are taken on a side") from error
    except Exception as error:  # as in is_photo
        if is_heic(path):
            raise VideoError(f"{path}: photos of the kind HEIC are not read here; save it as JPEG or PNG") from error
        raise VideoError(
            f"{path}: not a photo that can be read ({error}); the file is of another kind, or was cut short or "
            "damaged: convert or copy it again"
        ) from error


def _decoded(image: Image.Image) -> _Photo:
    """Pixels of an opened picture, upright and with 8 bits a colour."""
    notes = []
    if ";16" in str(getattr(image, "tile", "")):
        notes.append("the photo's 16 bits a colour are read as 8")
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        notes.append("the file holds several pictures: the first is read")
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its colours are fractions: save it with 8 or 16 bits a colour")
    if image.mode.startswith("I"):
        image = Image.fromarray(np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
    alpha = None
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        alpha = None if alpha.min() == 255 else alpha
    image, profile, note = _in_rgb(image)
    return _Photo(np.array(image), alpha, profile, _TURNS_DEG.get(turn, 0), (*notes, *note))


def _in_rgb(image: Image.Image) -> tuple[Image.Image, bytes, tuple[str, ...]]:
    """The picture in mode RGB, with its profile if that is one of RGB; other spaces are converted to sRGB."""
    profile = image.info.get("icc_profile") or b""
    space = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}.get(profile[16:20])
    if space == "RGB" and image.mode not in ("CMYK", "LAB", "YCbCr", "HSV"):
        return image.convert("RGB"), profile, ()
    if space is not None and space == image.mode:
        try:
            own, screen = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            shown = ImageCms.profileToProfile(image, own, screen, outputMode="RGB")
        except ImageCms.PyCMSError:
            return image.convert("RGB"), b"", ("the photo's colour profile cannot be read: sRGB is assumed",)
        if shown is not None:
            return shown, b"", (f"the photo's colours ({profile[16:20].decode().strip()}) are converted to sRGB",)
    return image.convert("RGB"), b"", ()


def _options(suffix: str, note: str) -> dict[str, Any]:
    """Pillow's options for a name's ending, with what was done to the picture in the file's own words."""
    said = f"Edited with Stitch: {note}" if note else "Edited with Stitch"
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = said.encode()
    exif[ExifTags.Base.Software] = "Stitch"
    options: dict[str, Any] = {"exif": exif}
    if suffix == ".png":
        text = PngInfo()
        text.add_itxt("Comment", said)
        return options | {"format": "PNG", "pnginfo": text}
    if suffix == ".webp":
        return options | {"format": "WEBP", "quality": QUALITY, "exact": True}
    return options | {"format": "JPEG", "quality": QUALITY, "subsampling": 0, "comment": said.encode()}
