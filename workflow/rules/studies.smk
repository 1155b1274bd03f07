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
        code=study_code,
        plugins=config["plugins"],
        reuse=study_reuse,
    output:
        "results/studies/{study}/{cell}/rows.csv",
    log:
        "results/logs/studies/{study}/{cell}.log",
    benchmark:
        "results/benchmarks/studies/{study}/{cell}.tsv"
    conda:
        "../../environment.yml"
    threads: study_threads
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=int(uses_cuda(config)),
    params:
        cell=lookup_cell,
        declaration=study_declaration,
        settings=study_settings,
        seeds=study_seeds,
        reuse=reuse_option,
        plugins=plugin_options(),
        code=study_code_sha256,
        execution=execution_options,
    shell:
        "bnstudy study {wildcards.study} {input.data} --cell {params.cell:q}"
        " --declaration {params.declaration:q} --seeds {params.seeds} {params.reuse:q}"
        " {params.plugins:q} {params.execution:q} --out {output:q} 2> {log:q}"


rule merge_study:
    """Join the cells of a study into its table."""
    input:
        rows=study_rows,
        data=study_datasets,
        code=code("cli.py", *imported_code("studies.table")),
    output:
        "results/tables/{study}.csv",
    log:
        "results/logs/merge_study/{study}.log",
    benchmark:
        "results/benchmarks/merge_study/{study}.tsv"
    wildcard_constraints:
        study="|".join(STUDIES) or "no_study",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "bnstudy merge {input.rows:q} --data {input.data:q} --out {output} 2> {log}"


rule judge_claims:
    """Give every claim its verdict, by the rule of science and the list of claims."""
    input:
        claims=source("config/claims.yaml"),
        schema=source("workflow/schemas/claims.schema.yaml"),
        config="results/run_config.yaml",
        tables=rules.aggregate.output,
        studies=expand("results/tables/{study}.csv", study=STUDIES),
        code=claims_code(),
    output:
        table("claims"),
        "results/tables/claim_effects.csv",
    log:
        "results/logs/judge_claims.log",
    benchmark:
        "results/benchmarks/judge_claims.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        tables=subpath(output[0], parent=True),
    shell:
        "bnstudy claims {input.claims:q} --config {input.config} --tables {params.tables}"
        " --out {params.tables} 2> {log}"
