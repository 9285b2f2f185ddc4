"""Compare three optimizers on handwritten digits, then ask about one derivative of one run."""

from talweg import Lab

with Lab() as lab:  # the local laboratory, or the one that TALWEG_URL and TALWEG_TOKEN name
    study = lab.compare(problem="digits-mlp", optimizers=["sgd", "momentum", "adam"], seeds=3, steps=300)
    study.wait()
    print(study.ranking())

    run = study.runs[-1]
    print(run.name, run.costs[[0, 100, 299]])
    print(run.gradient(step=37)["dense1.weight"].shape)
    print(run.explain(step=37, tensor="dense1.weight", index=(3, 5)))
