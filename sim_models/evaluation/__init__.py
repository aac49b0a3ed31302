"""Evaluation: metrics, baselines, and what they add up to over cells."""
