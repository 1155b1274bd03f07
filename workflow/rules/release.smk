"""What a finished study is compared with, and what of it is handed on.

Input: published/, results/data/<dataset>/prepared.safetensors, results/tables/, report/
Output: results/verify/runs/, results/tables/verification.csv, results/archive/
"""


localrules:
    verify,


rule retrain:
    """Train a published run again, with the settings it was published with."""
    input:
        data=retrain_data,
    output:
        **kept_files("results/verify/runs", model=False),
    log:
        "results/logs/retrain/{run}.log",
    benchmark:
        "results/benchmarks/retrain/{run}.tsv"
    threads: 1
    resources:
        mem_mb=training_memory,
        runtime=60,
        gpu=int(uses_cuda(config)),
    params:
        directory=subpath(output.run, parent=True),
        options=retrained_options,
        device=config["training"]["device"],
    shell:
        "bnstudy train {input.data} {params.options:q} --device {params.device}" " --out {params.directory} 2> {log}"


rule verify:
    """Does it reproduce here? Compares runs trained anew with the published ones, each time asked.

    The table is no output: the report shows it where there is one, but never asks for it.
    """
    input:
        runs=retrained_files,
        published=published_files,
    log:
        "results/logs/verify.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        runs=list(verified_runs()),
        published=source("published"),
    shell:
        "bnstudy verify {params.runs:q} --runs results/verify/runs"
        " --published {params.published:q} --out results/tables/verification.csv 2> {log}"


rule pack:
    """Pack the study as a Workflow Run RO-Crate; the same files give the same bytes."""
    input:
        results=[
            "results/run_config.yaml",
            *rules.aggregate.output,
            *rules.judge_claims.output,
            *expand("results/tables/{study}.csv", study=STUDIES),
            *verification_table(),
            *rules.render.output,
        ],
    output:
        archive_file(),
    log:
        "results/logs/pack.log",
    benchmark:
        "results/benchmarks/pack.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        root=source("."),
    shell:
        "bnstudy archive {input.results:q} --root {params.root:q} --out {output} 2> {log}"
