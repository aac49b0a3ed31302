"""How far numbers are told to machines."""

DIGITS = 4
"""more would change with the make of the processor"""
