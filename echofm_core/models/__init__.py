"""Encoder, masked auto-encoder, STF-Net and heads."""
