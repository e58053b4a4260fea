"""The latent transformer (Yao et al. 2021, arXiv 2106.11895): what the paper's table 1 compares with."""
