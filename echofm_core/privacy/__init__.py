"""Differential privacy at a site: DP-SGD and its accounting."""
