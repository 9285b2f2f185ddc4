"""Figures, drawn with matplotlib objects: no pyplot, no global state, no display."""
