"""From the runs of the grid to tidy tables.

Input: results/runs/, results/benchmarks/train/
Output: results/run_config.yaml, results/tables/
"""


localrules:
    record_config,


rule record_config:
    """Write down the merged configuration, for the tables, the report and whoever reads later."""
    input:
        recorded,
    output:
        "results/run_config.yaml",
    log:
        "results/logs/record_config.log",
    benchmark:
        "results/benchmarks/record_config.tsv"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        text=recorded_config,
    shell:
        "printf %s {params.text:q} > {output} 2> {log}"


rule aggregate:
    """Gather all runs of the grid into tables and compare the normalizations."""
    input:
        config="results/run_config.yaml",
        runs=[path.format(run=run) for run in RUNS for path in kept_files("results/runs").values()],
        benchmarks=[f"results/benchmarks/train/{run}.tsv" for run in RUNS],
        data=KEYS.grid_data,
        made=noted("aggregate"),
    output:
        table("runs"),
        "results/tables/metrics.csv",  # too long for Snakemake's report
        table("timings"),
        table("comparison"),
        table("classes"),
        table("confusion"),
        made=note("aggregate"),
    log:
        "results/logs/aggregate.log",
    benchmark:
        "results/benchmarks/aggregate.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        note=made_from("aggregate"),
        made_now=tables_of,
        results=subpath(output[0], ancestor=2),
        tables=subpath(output[0], parent=True),
    shell:
        "bnstudy aggregate {input.config} --results {params.results} --data {input.data}"
        " --out {params.tables} 2> {log}"
        " && bnstudy note --out {output.made} {params.note:q} {params.made_now} 2>> {log}"
