"""Pivotal tuning of single pictures (Roich et al. 2021, arXiv 2106.05744): what the paper's table 1 compares with."""
