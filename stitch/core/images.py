"""Pictures between bytes and tensors, and between sizes. The only place where a tensor is rounded to bytes."""

import base64
import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def to_tensor(image: np.ndarray | Tensor) -> Tensor:
    """Bytes to the networks' range: [..., H,W,C] uint8 to [..., C,H,W] float32 in [-1,1].

    Args:
        image: uint8 array (or tensor, whose device is kept).
    Returns:
        image / 127.5 - 1, contiguous.
    Raises:
        ValueError: not uint8.
    """
    levels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    if levels.dtype != torch.uint8:
        raise ValueError(f"image: got {image.dtype}, expected uint8")
    return levels.movedim(-1, -3).float().div(127.5).sub(1).contiguous()


def to_levels(images: Tensor) -> Tensor:
    """The networks' range to levels of 255, rounded to the nearest.

    Args:
        images: float tensor in [-1,1]; values outside are clipped.
    Returns:
        The same shape, float32, whole numbers from 0 to 255.
    """
    return images.detach().float().add(1).mul(255).div(2).round().clamp(0, 255)


def to_bytes(images: Tensor) -> np.ndarray:
    """The networks' range to bytes: [..., C,H,W] in [-1,1] to [..., H,W,C] uint8, rounded to the nearest level.

    Args:
        images: float tensor on any device; values outside [-1,1] are clipped.
    Returns:
        Array on the CPU, contiguous. Undoes `to_tensor` exactly.
    """
    levels = to_levels(images).to(torch.uint8)
    return np.ascontiguousarray(levels.movedim(-3, -1).cpu().numpy())


def resize(images: Tensor, size: int, antialias: bool = True) -> Tensor:
    """Bilinear resize to a square.

    Args:
        images: [B,C,H,W] float.
        size: side in px.
        antialias: widen the filter when shrinking; off is what the authors' library versions did.
    Returns:
        [B,C,size,size]; the input itself when it has that size.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=antialias)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Shrink by a whole factor with a Lanczos filter (first step of an FFHQ crop, stage 1).

    Args:
        image: [H,W] or [H,W,3] uint8.
        factor: >= 1.
    Returns:
        [round(H/factor), round(W/factor), ...] uint8, at least one pixel; the input itself for factor 1.
    Raises:
        ValueError: factor is below 1.
    """
    if factor < 1:
        raise ValueError(f"factor: got {factor}, expected >= 1")
    if factor == 1:
        return image
    height, width = (max(1, round(side / factor)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.LANCZOS))


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge by a whole factor with a bicubic filter, which rings less than Lanczos (stage 6, ours).

    Args:
        image: [H,W] or [H,W,3] uint8.
        factor: >= 1.
    Returns:
        [H*factor, W*factor, ...] uint8; the input itself for factor 1.
    Raises:
        ValueError: factor is below 1.
    """
    if factor < 1:
        raise ValueError(f"factor: got {factor}, expected >= 1")
    if factor == 1:
        return image
    height, width = image.shape[:2]
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(image)).resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    )


def jpeg_address(image: np.ndarray, side_px: int) -> str:
    """A picture shrunk to fit a square, as an address that holds it: no file of it is ever written.

    Args:
        image: [H,W,3] uint8 RGB.
        side_px: of the square.
    """
    shown, buffer = Image.fromarray(image), io.BytesIO()
    shown.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    shown.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
