"""Figures, drawn with matplotlib's objects: without pyplot, global state or a display."""
