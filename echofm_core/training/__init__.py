"""Local training of one site: pre-training and fine-tuning."""
