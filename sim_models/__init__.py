"""Denoise and super-resolve structured illumination microscopy (SIM) images, and carry models across structures."""
