"""Carrying a model from one structure to the next: directly, fine-tuned, or from scratch; how many stacks, how sure."""
