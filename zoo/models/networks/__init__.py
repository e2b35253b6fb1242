"""Torch modules of the families. Only what runs or exports torch imports this package."""
