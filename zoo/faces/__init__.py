"""From files to crops: decode, detect, place landmarks, align, warp; and drawing what was found.

Example:
    >>> from zoo.faces.decode import read_image
    >>> from zoo.faces.pipeline import build_pipeline
    >>> crop = build_pipeline(entry.preprocess).crop(read_image("portrait.jpg"))
"""
