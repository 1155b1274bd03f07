"""The studies behind the claims, and the verdicts.

Input: results/data/<dataset>/prepared.safetensors, results/tables/
Output: results/studies/<study>/<cell>/rows.csv, results/tables/<study>.csv, results/tables/claims.csv
"""


wildcard_constraints:
    study="[a-z_]+",
    cell="[^/]+",


rule run_study:
    """Run one cell of a study, all its seeds in one job.

    What a job that was cut off had finished lies beside its table, which is no declared output:
    Snakemake removes those of a failed job.
    """
    input:
        data=study_data,
        reuse=study_reuse,
    output:
        "results/studies/{study}/{cell}/rows.csv",
    log:
        "results/logs/studies/{study}/{cell}.log",
    benchmark:
        "results/benchmarks/studies/{study}/{cell}.tsv"
    # The longest jobs first: the short ones fill what is left at the end.
    priority: 1
    threads: study_threads
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=int(uses_cuda(config)),
    params:
        options=study_options,
        plugins=plugin_options(),
        execution=execution_options,
    shell:
        "bnstudy study {wildcards.study} {input.data} {params.options:q} {params.plugins:q}"
        " {params.execution:q} --out {output:q} 2> {log:q}"


rule merge_study:
    """Join the cells of a study into its table."""
    input:
        rows=study_rows,
        data=study_datasets,
        made=noted("merge_study", "{study}"),
    output:
        table="results/tables/{study}.csv",
        made=note("merge_study", "{study}"),
    log:
        "results/logs/merge_study/{study}.log",
    benchmark:
        "results/benchmarks/merge_study/{study}.tsv"
    wildcard_constraints:
        study="|".join(STUDIES) or "no_study",
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        note=made_from("merge_study", "{study}"),
    shell:
        "bnstudy merge {input.rows:q} --data {input.data:q} --out {output.table} 2> {log}"
        " && bnstudy note --out {output.made} {params.note:q} {output.table} 2>> {log}"


rule judge_claims:
    """Give every claim its verdict, by the rule of science and the list of claims."""
    input:
        config="results/run_config.yaml",
        tables=rules.aggregate.output,
        studies=expand("results/tables/{study}.csv", study=STUDIES),
        made=noted("judge_claims"),
    output:
        claims=table("claims"),
        effects="results/tables/claim_effects.csv",
        made=note("judge_claims"),
    log:
        "results/logs/judge_claims.log",
    benchmark:
        "results/benchmarks/judge_claims.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        note=made_from("judge_claims"),
        claims=source("config/claims.yaml"),
        tables=subpath(output.claims, parent=True),
    shell:
        "bnstudy claims {params.claims:q} --config {input.config} --tables {params.tables}"
        " --out {params.tables} 2> {log}"
        " && bnstudy note --out {output.made} {params.note:q} {output.claims} {output.effects} 2>> {log}"
