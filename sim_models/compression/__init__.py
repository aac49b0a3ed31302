"""Smaller and faster networks: fewer channels, whole numbers of 8 bits; kept only where they lose little enough."""
