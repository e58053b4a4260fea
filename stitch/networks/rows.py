"""An encoder that finds one code a picture, for generators of any number of codes."""

from torch import Tensor, nn


class RowsEncoder(nn.Module):
    """The same code for each of a generator's layers.

    Args:
        encoder: [B,3,R,R] in [-1,1] -> one code w a picture, [B,D].
        num_ws: L.
    """

    def __init__(self, encoder: nn.Module, num_ws: int):
        super().__init__()
        self.encoder = encoder
        self.num_ws = num_ws

    def forward(self, crops: Tensor) -> Tensor:
        """[B,3,R,R] aligned faces in [-1,1] -> [B,L,D]."""
        return self.encoder(crops)[:, None].repeat(1, self.num_ws, 1)
