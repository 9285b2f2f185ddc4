"""The points of a search: quasi-random, drawn once, and the same for every optimizer."""

from talweg.protocols import Search


def drawn(search: Search, seeds: int) -> list[list[dict[str, float]]]:
    """For each of so many seeds, a point of the space for each trial that it begins with but the first.

    They are of a scrambled Halton sequence. It goes on from seed to seed: each seed's points, and all together, fill
    the space evenly.

    Source: Bousquet, Gelly, Kurach, Teytaud, Vincent, "Critical Hyper-Parameters: No Random, No Cry", 2017; Owen, "A
    randomized Halton algorithm in R", 2017.
    """
    each = search.begins - 1
    if not each:
        return [[] for _ in range(seeds)]
    # scipy.stats takes half a second to import, and only searches need it.
    from scipy.stats import qmc

    shares = qmc.Halton(len(search.space), scramble=True, rng=search.seed).random(seeds * each).tolist()
    points = [
        {name: whole.at(share) for (name, whole), share in zip(search.space.items(), row, strict=True)}
        for row in shares
    ]
    return [points[i * each : (i + 1) * each] for i in range(seeds)]
