"""How a structured-illumination microscope makes an image, as plain differentiable functions on tensors.

Arrays are (..., Y, X) with x to the right and y down; lengths are um, spatial frequencies cycles per
um, angles rad. A specimen is given in photons per raw pixel: a flat specimen of value v under flat
light puts v photons into every raw pixel, whatever the grid it is written on.
"""
