"""The grid: every combination of dataset, normalization, batch size and seed is one job.

Input: results/data/<dataset>/prepared.safetensors
Output: results/runs/dataset~<dataset>/norm~<norm>/batch_size~<batch_size>/seed~<seed>/
"""


rule train:
    """Train one network and record what happened. A run that diverges is a result, not a failure.

    A run that was cut off goes on from the checkpoint in its folder, which is no declared output:
    Snakemake removes those of a failed job.
    """
    input:
        data=train_data,
        code=code(*TRAINING_CODE),
    output:
        metrics="results/runs/dataset~{dataset}/norm~{norm}/batch_size~{batch_size}/seed~{seed}/metrics.csv",
        run="results/runs/dataset~{dataset}/norm~{norm}/batch_size~{batch_size}/seed~{seed}/run.json",
        timing="results/runs/dataset~{dataset}/norm~{norm}/batch_size~{batch_size}/seed~{seed}/timing.json",
    log:
        "results/logs/train/dataset~{dataset}/norm~{norm}/batch_size~{batch_size}/seed~{seed}.log",
    benchmark:
        "results/benchmarks/train/dataset~{dataset}/norm~{norm}/batch_size~{batch_size}/seed~{seed}.tsv"
    conda:
        "../../environment.yml"
    # The number of threads changes the order of floating-point sums.
    threads: 1
    resources:
        mem_mb=training_memory,
        runtime=60,
        gpu=int(uses_cuda(config)),
        runs=1,
    params:
        # An edit is seen by its content too: sources that are unpacked or synchronized may be older
        # than the results, and clocks may go back.
        code=TRAINING_SHA256,
        directory=subpath(output.run, parent=True),
        scaling=config["data"]["scaling"],
        validation_fraction=config["data"]["validation_fraction"],
        hidden=config["model"]["hidden"],
        activation=config["model"]["activation"],
        dropout=config["model"]["dropout"],
        initialization=config["model"]["initialization"],
        epochs=config["training"]["epochs"],
        optimizer=config["training"]["optimizer"],
        learning_rate=config["training"]["learning_rate"],
        probe_every=config["training"]["probe_every"],
        checkpoint_every=checkpoint_every,
        device=config["training"]["device"],
        jobs_per_gpu=jobs_per_gpu,
    shell:
        "bnstudy train {input.data}"
        " --norm {wildcards.norm}"
        " --batch-size {wildcards.batch_size}"
        " --seed {wildcards.seed}"
        " --hidden {params.hidden}"
        " --activation {params.activation}"
        " --dropout {params.dropout}"
        " --initialization {params.initialization}"
        " --scaling {params.scaling}"
        " --validation-fraction {params.validation_fraction}"
        " --epochs {params.epochs}"
        " --optimizer {params.optimizer}"
        " --learning-rate {params.learning_rate}"
        " --probe-every {params.probe_every}"
        " --checkpoint-every {params.checkpoint_every}"
        " --device {params.device}"
        " --jobs-per-gpu {params.jobs_per_gpu}"
        " --out {params.directory} 2> {log}"
