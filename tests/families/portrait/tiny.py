"""A generator of the family's architecture that draws small pictures in milliseconds."""

import torch

from stitch.networks.mobilestylegan import MobileStyleGAN

CHANNELS = {4: 8, 8: 16, 16: 8, 32: 8}


def generator(resolution: int = 32, seed: int = 0) -> MobileStyleGAN:
    """Random weights, noise and mean code."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = {side: count for side, count in CHANNELS.items() if side < resolution}
        network = MobileStyleGAN(resolution, style_dim=8, mapping_layers=2, channels=channels)
        for _, buffer in network.named_buffers():
            buffer.normal_(std=0.1)
    return network.eval().requires_grad_(False)
