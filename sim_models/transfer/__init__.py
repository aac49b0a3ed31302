"""Carrying a model from one structure to the next: direct, fine-tuned, or from scratch."""
