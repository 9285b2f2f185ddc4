"""The paths over a test function as they were taken: a picture of each moment, played one after another."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from talweg.comparison.axes import INK, MUTED
from talweg.comparison.charts import look
from talweg.comparison.contours import drawn
from talweg.comparison.results import Floats
from talweg.comparison.standings import Contender
from talweg_core.problems.surface import SurfaceProblem

FRAMES = 40
_MILLISECONDS = 90
_LAST = 2500
_DOTS_PER_INCH = 68


def animation(problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, frames: int = FRAMES) -> bytes:
    """A GIF, played once and again: each contender at the same step, with the path that it has behind it.

    Moments are spaced evenly in the square root of the step, since most happens early; the first is step 0, the last
    the end of the longest path.
    """
    figure, axes = drawn(problem, {contender: path[:0] for contender, path in taken.items()}, window=taken)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DOTS_PER_INCH)
    lines, heads = {}, {}
    for contender in taken:
        style = look(contender)
        (lines[contender],) = axes.plot([], [], color=style.colour, linewidth=2, animated=True)
        if style.dashes:
            lines[contender].set_dashes(style.dashes)
        (heads[contender],) = axes.plot(
            [], [], "o", color=style.colour, markersize=8, markeredgecolor="white", animated=True
        )
    said = axes.text(0.99, 0.985, "", transform=axes.transAxes, ha="right", va="top", color=INK, fontsize=10)
    said.set_bbox({"facecolor": "white", "edgecolor": MUTED, "linewidth": 0.5, "alpha": 0.85})
    said.set_animated(True)
    # What stands still is drawn once: it is nearly all of the work.
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no type for it
    still = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]  # nor for these
    longest = max(len(path) for path in taken.values()) - 1
    images = []
    for step in moments(longest, frames):
        canvas.restore_region(still)  # type: ignore[no-untyped-call]
        for contender, path in taken.items():
            behind = path[: step + 1]
            behind = behind[np.isfinite(behind).all(axis=1)]
            lines[contender].set_data(behind[:, 0], behind[:, 1])
            heads[contender].set_data(behind[-1:, 0], behind[-1:, 1])
            axes.draw_artist(lines[contender])
        for head in heads.values():
            axes.draw_artist(head)
        said.set_text(f"step {step:,}")
        axes.draw_artist(said)
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        images.append(Image.fromarray(pixels).convert("RGB"))
    palette = _palette([look(contender).colour for contender in taken])
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    buffer = io.BytesIO()
    times = [_MILLISECONDS] * (len(flat) - 1) + [_LAST]
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=False)
    return buffer.getvalue()


def _palette(colours: Sequence[str]) -> Image.Image:
    """Greys, and each contender's colour with what lies between it and the greys.

    One for all pictures, or colours would flicker and each picture would be stored whole; and made, not found: greys
    are most of a picture, and would be all of what is found in it.
    """
    parts = [255 * i // 27 for i in range(28) for _ in range(3)]
    for colour in dict.fromkeys(colours):
        own = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        between = [(grey, share) for grey in (235, 160) for share in (0.4, 0.7)]
        for grey, share in [*between, (0, 1.0)]:
            parts += [round(grey + share * (part - grey)) for part in own]
    made = Image.new("P", (1, 1))
    made.putpalette(parts[: 3 * 256])
    return made


def moments(longest: int, frames: int) -> list[int]:
    """Steps from 0 to `longest`, each once, the early ones closer together."""
    return sorted({round(float(longest * share**2)) for share in np.linspace(0, 1, frames)})
