"""The golden harness follows its files: a folder with other names, salts, sizes, weights, rates and betas runs too."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stitch.methods.stit import masks
from stitch.networks.formats.generators import generator_from_state
from stitch.networks.perceptual import Perceptual
from stitch.networks.stylegan2 import Generator
from tests import golden

SALT = "another salt/"
SIZES = {
    "z_dim": 12, "c_dim": 0, "w_dim": 20, "img_resolution": 64, "img_channels": 3, "mapping_kwargs": {"num_layers": 3},
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 24},
}  # fmt: skip
PTI = {"init_kwargs": SIZES, "frames": 2, "epochs": 2, "lr": 2e-3, "beta1": 0.6, "beta2": 0.95, "l2_lambda": 4.0,
       "lpips_lambda": 0.5}  # fmt: skip
LOCALITY = {"z": "elsewhere/z{step:02d}, shape [1, z_dim], one draw per step", "truncation_psi": 0.8, "alpha": 5,
            "l2_lambda": 3.0, "lpips_lambda": 0.75, "num_samples": 1}  # fmt: skip
STITCH = {
    "lr": 4e-3, "betas": [0.5, 0.9], "steps": 3, "content_loss_lambda": 0.2, "create_masks_args": [3, 1, 5, False],
    "frame": 0, "l1_offset": "as l1, but the content image handed over is 0.8 * edited + 0.11",
    "w_edit": "pivots[0] + 0.3 * normal of elsewhere/direction with shape [1,1,20]",
    "style_edit": "styles of pivots[0] + 0.2 * normal of elsewhere/style.{i:03d} (torgb layers unchanged)",
}  # fmt: skip
TEXT = {
    "init_kwargs": SIZES, "K": None, "delta_i_c": None, "beta": 0.02, "edit_range": [-3, 9, 3],
    "pivots": ["elsewhere/text/pivots", [3, 10, 20]],
    "text_embeddings": {name: ["raw", f"elsewhere/text/{name}", [80, 512]] for name in ("face", "face with a hat")},
}  # fmt: skip


def entry(key: str, tensor: Tensor) -> dict:
    """A line of a manifest, by the rules of section 1 of the golden README as far as they matter here."""
    rule = "normal:0:1" if tensor.ndim > 1 else "normal:0:0.1"
    for part, other in (("mapping.fc", "normal:0:100"), ("affine.bias", "normal:1:0.1"), ("features", "normal:0:0.05"),
                        ("w_avg", "normal:0:0.2")):  # fmt: skip
        rule = other if part in key and (part != "mapping.fc" or tensor.ndim > 1) else rule
    return {"key": key, "shape": list(tensor.shape), "dtype": "float32", "rule": rule}


def write_manifest(folder: Path, name: str, tensors: dict[str, Tensor], **more) -> dict[str, Tensor]:
    entries = [entry(key, tensor) for key, tensor in tensors.items()]
    state = {line["key"]: golden.draw(line["rule"], line["key"], line["shape"], SALT) for line in entries}
    total, squares = golden.sums(state.values())
    checksum = {"sum": total, "sumsq": squares, "num_values": sum(tensor.numel() for tensor in state.values())}
    content = {"name": name, "salt": SALT, "tensors": entries, "checksum": checksum, **more}
    (folder / "manifests" / f"{name}.json").write_text(json.dumps(content))
    return state


def write_case(folder: Path, name: str, meta: dict, arrays: dict[str, Tensor | np.ndarray]) -> None:
    plain = {key: np.asarray(value) for key, value in arrays.items()}
    meta = meta | {"arrays": {key: [list(value.shape), str(value.dtype)] for key, value in plain.items()}}
    np.savez(folder / f"{name}.npz", **plain)
    (folder / f"{name}.json").write_text(json.dumps(meta))


def normal(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(golden.normal(name, shape))


def adam(generator: Generator, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
    synthesis = [p.requires_grad_(True) for name, p in generator.named_parameters() if name.startswith("synthesis.")]
    return torch.optim.Adam(synthesis, lr=lr, betas=betas)


def tuned(generator: Generator, perceptual: Perceptual, pivots: Tensor, targets: Tensor, held: dict | None) -> dict:
    """Equation 1, written out."""
    first, losses, kept, samples, codes = generator_from_state(generator.state_dict()), [], [], [], []
    optimizer = adam(generator, PTI["lr"], (PTI["beta1"], PTI["beta2"]))
    for step in range(PTI["epochs"] * PTI["frames"]):
        frame = slice(step % PTI["frames"], step % PTI["frames"] + 1)
        image = generator(pivots[frame])
        l2, lpips = F.mse_loss(image, targets[frame]), perceptual(image, targets[frame]).mean()
        loss = PTI["l2_lambda"] * l2 + PTI["lpips_lambda"] * lpips
        if held is not None:
            with torch.no_grad():
                w = first.mapping(normal(f"elsewhere/z{step:02d}", 1, 12))
                samples.append((first.w_avg + held["truncation_psi"] * (w - first.w_avg))[:, None].repeat(1, 10, 1))
                towards = samples[-1] - pivots[frame]
                codes.append(pivots[frame] + held["alpha"] * towards / towards.norm())
                before = first(codes[-1], "none")
            now = generator(codes[-1], "none")
            kept.append(held["l2_lambda"] * F.mse_loss(now, before))
            kept[-1] = kept[-1] + held["lpips_lambda"] * perceptual(now, before).mean()
            loss = loss + kept[-1]
        losses.append([loss.item(), l2.item(), lpips.item()])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        result = {"losses_total_l2_lpips": np.array(losses), "final_images": generator(pivots)}
    if held is not None:
        result |= {"regulariser_losses": np.array([value.item() for value in kept])}
        result |= {"w_samples": torch.cat(samples), "territory_ws": torch.cat(codes)}
    return result


def stitched(generator: Generator, codes, crop: Tensor, content: Tensor, regions, power: int) -> dict:
    """Equations 2 to 4, written out; of edited codes the styles move with the affine layers, edited styles stay."""
    optimizer = adam(generator, STITCH["lr"], tuple(STITCH["betas"]))
    losses = []
    for step in range(STITCH["steps"] + 1):
        image = generator.from_styles(generator.styles(codes) if isinstance(codes, Tensor) else codes)
        border, inside = (
            ((image - wanted) * mask).abs().pow(power).sum() / mask.sum()
            for wanted, mask in ((crop, regions.boundary), (content, regions.mask))
        )
        losses.append([border.item(), inside.item()])
        if step < STITCH["steps"]:
            optimizer.zero_grad()
            (border + STITCH["content_loss_lambda"] * inside).backward()
            optimizer.step()
    return {"border_content_losses": np.array(losses), "final_image": image.detach()}


def write_loops(folder: Path, state: dict[str, Tensor], perceptual: Perceptual) -> None:
    fresh = lambda: generator_from_state(state)  # noqa: E731
    pivots = 0.6 * normal("elsewhere/pivots", 2, 10, 20)
    targets_u8 = np.clip(128 + 50 * golden.normal("elsewhere/targets", (2, 64, 64, 3)), 0, 255).astype(np.uint8)
    targets = torch.from_numpy(targets_u8).permute(0, 3, 1, 2).float() / 127.5 - 1
    arrays: dict = {"pti.targets_u8": targets_u8, "pti.pivots": pivots, "pti.pivot_images": fresh()(pivots).detach()}
    meta: dict = {"pti": PTI, "stitch": STITCH}
    for name, held in (("pti.plain", None), ("pti.held", LOCALITY)):
        found = tuned(fresh(), perceptual, pivots, targets, held)
        arrays |= {f"{name}.{key}": value for key, value in found.items()}
        meta[name] = {"rms_change_per_tensor": {}, **(held or {})}
    blob = torch.zeros(1, 1, 64, 64)
    blob[..., 20:45, 15:50] = 1
    edge, inner, outer, whole = STITCH["create_masks_args"]
    regions = masks.regions(blob, outer, edge, inner, whole)
    arrays |= {"stitch.mask": blob[0, 0], "stitch.content_mask": regions.mask[0, 0]}
    arrays |= {"stitch.full_mask": regions.dilated_mask[0, 0], "stitch.border_mask": regions.boundary[0, 0]}
    generator, crop = fresh(), targets[:1]
    moved = pivots[:1] + 0.3 * normal("elsewhere/direction", 1, 1, 20)
    codes = {"w": moved, "style": [
        style.detach() + 0.2 * normal(f"elsewhere/style.{index:03d}", *style.shape) * layer.is_conv
        for index, (layer, style) in enumerate(zip(generator.layers, generator.styles(pivots[:1]), strict=True))
    ]}  # fmt: skip
    for kind, edited in codes.items():
        image = generator.from_styles(generator.styles(edited) if kind == "w" else edited).detach()
        arrays[f"stitch.edited_{kind}_image"] = image
        for distance, power, content in (("l2", 2, image), ("l1_offset", 1, 0.8 * image + 0.11)):
            found = stitched(fresh(), edited, crop, content, regions, power)
            arrays |= {f"stitch.{kind}.{distance}.{key}": value for key, value in found.items()}
            meta[f"stitch.{kind}.{distance}"] = {}
    write_case(folder, "c09_elsewhere", meta, arrays)


@torch.no_grad()
def write_edits(folder: Path, state: dict[str, Tensor]) -> None:
    generator = generator_from_state(state)
    widths = [layer.dimension for layer in generator.layers if layer.is_conv]
    part = TEXT | {"K": sum(widths), "delta_i_c": ["0.03 * normal", "elsewhere/relevance", [sum(widths), 512]],
                   "layers": [[x.name, x.dimension, x.is_conv] for x in generator.layers]}  # fmt: skip
    means = []
    for _, name, shape in part["text_embeddings"].values():
        rows = normal(name, *shape)
        mean = (rows / rows.norm(dim=1, keepdim=True)).mean(0)
        means.append(mean / mean.norm())
    axis = (means[1] - means[0]) / (means[1] - means[0]).norm()
    relevance = 0.03 * normal("elsewhere/relevance", sum(widths), 512) @ axis
    kept = torch.where(relevance.abs() > part["beta"], relevance, 0.0)
    direction = kept / kept.abs().max()
    part[f"nonzero_beta{part['beta']}"] = int((direction != 0).sum())
    arrays = {"tiny.class_weights": torch.stack(means, 1), f"tiny.direction.beta{part['beta']}": direction}
    styles, pieces = generator.styles(normal(*_flat(part["pivots"]))), iter(direction.split(widths))
    shifts = [next(pieces) if x.is_conv else torch.zeros(x.dimension) for x in generator.layers]
    for index, strength in enumerate(np.linspace(*part["edit_range"])):
        edited = [style + float(strength) * shift for style, shift in zip(styles, shifts, strict=True)]
        arrays[f"tiny.edit{index}.styles"] = torch.cat(edited, 1)
        arrays[f"tiny.edit{index}.image"] = generator.from_styles(edited)
    pivots = normal("elsewhere/edits", 4, 7, 9)
    row = golden.normal("elsewhere/frown", (7, 9), np.float64)[0]
    arrays["interfacegan.frown.2.5"] = pivots[:3].double() + 1.25 * torch.from_numpy(row / np.linalg.norm(row))
    arrays["freeze_fine_layers"] = torch.cat([pivots[:, :5], pivots[:, 5:].mean(0, keepdim=True).repeat(4, 1, 1)], 1)
    faces = {"names": {"frown": "elsewhere/frown"}, "pivots": ["elsewhere/edits", [4, 7, 9]], "edits": [["frown", 2.5]]}
    write_case(folder, "c10_elsewhere", {"interfacegan": faces, "freeze_fine_layers": {"k": 5}, "tiny": part}, arrays)


def _flat(spec: list) -> tuple:
    return spec[0], *spec[1]


@torch.no_grad()
def write_networks(folder: Path, state: dict[str, Tensor]) -> None:
    generator = generator_from_state(state)
    z, ws = normal("elsewhere/z", 3, 12), normal("elsewhere/ws", 3, 10, 20)
    w, styles = generator.mapping(z), generator.styles(ws)
    part = {
        "init_kwargs": SIZES, "num_ws": 10, "psi": 0.4, "cutoff": 7,
        "layers": [[f"synthesis.{x.name}", x.dimension, x.is_conv] for x in generator.layers],
        "inputs": {"z": ["elsewhere/z", [3, 12]], "ws": ["elsewhere/ws", [3, 10, 20]],
                   "style_delta": ["elsewhere/delta.{i:d}", "0.7 * normal, shape [N, dim of layer i]"]},
    }  # fmt: skip
    towards = generator.w_avg + 0.4 * (w - generator.w_avg)
    shifted = [style + 0.7 * normal(f"elsewhere/delta.{index}", *style.shape) for index, style in enumerate(styles)]
    arrays = {"q.w_of_z": w, "q.w_of_z_trunc": towards, "q.ws.const.image": generator(ws),
              "q.ws_of_z_trunc_cutoff": torch.stack([towards] * 7 + [w] * 3, 1),
              "q.ws.none.image": generator(ws, "none"),
              "q.styles_plus_delta.const.image": generator.from_styles(shifted)}  # fmt: skip
    write_case(folder, "c02_elsewhere", {"cases": {"q": part}}, arrays)


def test_harness_follows_the_files_of_another_folder(tmp_path: Path):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "README.md").touch()
    channels = {size: min(512 // size, 24) for size in (4, 8, 16, 32, 64)}
    network = Generator(64, 20, 3, channels, z_dim=12)
    state = write_manifest(tmp_path, "nvidia_q", dict(network.state_dict()), init_kwargs=SIZES)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    alex = {f"features.{i}.weight": torch.zeros(o, n, k, k) for i, (o, n, k) in shapes.items()}
    alex |= {f"features.{i}.bias": torch.zeros(o) for i, (o, *_) in shapes.items()}
    perceptual = Perceptual.from_lpips_alex(write_manifest(tmp_path, "lpips_other", alex))
    write_networks(tmp_path, state)
    write_loops(tmp_path, state, perceptual)
    write_edits(tmp_path, state)
    assert math.isfinite(sum(tensor.sum().item() for tensor in state.values()))
    chosen = ["tests/networks/test_golden_networks.py", "tests/methods/stit/test_golden_loops.py"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *chosen, "-k", "not templates"],
        env=os.environ | {"STITCH_GOLDEN": str(tmp_path)}, capture_output=True, text=True, cwd=golden.REPOSITORY,
    )  # fmt: skip
    passed = [line for line in result.stdout.splitlines() if line.startswith("PASSED")]
    failed = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert not failed, result.stdout[-4000:]
    for case in ("c02-q", "pti.plain", "pti.held", "stitch.w.l2", "stitch.style.l1_offset", "c10-tiny", "interfacegan",
                 "freeze_fine"):  # fmt: skip
        assert any(case in line for line in passed), (case, result.stdout[-2000:])
