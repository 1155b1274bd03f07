"""The grid: every combination of its axes is a run, and every run is one job.

Input: results/data/<dataset>/prepared.safetensors
Output: results/runs/<run>/, the name of a run being dataset~<dataset>/norm~<norm>/.../seed~<seed>
"""


rule train:
    """Train one network and record what happened. A run that diverges is a result, not a failure.

    A run that was cut off goes on from the checkpoint in its folder, which is no declared output:
    Snakemake removes those of a failed job.
    """
    input:
        data=train_data,
    output:
        **kept_files("results/runs"),
    log:
        "results/logs/train/{run}.log",
    benchmark:
        "results/benchmarks/train/{run}.tsv"
    # The number of threads changes the order of floating-point sums.
    threads: 1
    resources:
        mem_mb=training_memory,
        runtime=training_minutes,
        gpu=int(uses_cuda(config)),
        runs=1,
    params:
        directory=subpath(output.run, parent=True),
        options=run_options,
        observers=observer_options(),
        execution=execution_options,
        plugins=plugin_options(),
    shell:
        "bnstudy train {input.data} {params.options:q} {params.observers:q} {params.plugins:q}"
        " {params.execution:q} --out {params.directory} 2> {log}"
