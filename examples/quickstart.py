"""Compare three optimizers on handwritten digits, then explain one derivative of one run."""

from talweg import Lab

with Lab() as lab:  # the local laboratory, or the one that TALWEG_URL and TALWEG_TOKEN name
    rules = [{"name": "sgd", "learning_rate": 0.1}, {"name": "momentum", "learning_rate": 0.03}, "adam"]
    study = lab.compare(problem="digits-mlp", optimizers=rules, steps=300)
    study.wait()
    print(study.ranking(), study.verdict, sep="\n\n")

    run = study.runs[-1]
    print(run.name, run.costs[[0, 100, 299]], run.gradient(step=37)["dense1.weight"].shape)
    print(run.explain(step=37, tensor="dense1.weight", index=(3, 5)))
