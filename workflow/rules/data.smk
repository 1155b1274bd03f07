"""From public mirrors to one file per dataset, which every run opens.

Output: results/data/<dataset>/raw/ and results/data/<dataset>/prepared.safetensors
"""


# Small, and a compute node may have no network.
localrules:
    download,
    prepare,


rule download:
    """Fetch a dataset's raw files from the first source that has the right ones."""
    output:
        directory("results/data/{dataset}/raw"),
    log:
        "results/logs/download/dataset~{dataset}.log",
    benchmark:
        "results/benchmarks/download/dataset~{dataset}.tsv"
    retries: 2
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        source=source_option,
    shell:
        "bnstudy download {wildcards.dataset} --out {output} {params.source:q} 2> {log}"


rule prepare:
    """Decode a dataset once, so that no run has to."""
    input:
        raw=raw_files,
        made=noted("prepare", "{dataset}"),
    output:
        data="results/data/{dataset}/prepared.safetensors",
        made=note("prepare", "{dataset}"),
    log:
        "results/logs/prepare/dataset~{dataset}.log",
    benchmark:
        "results/benchmarks/prepare/dataset~{dataset}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        key=key_of("prepare", "{dataset}"),
        raw=raw_option,
    shell:
        "bnstudy prepare {wildcards.dataset} {params.raw} --out {output.data} 2> {log}"
        " && bnstudy note {params.key} {output.data} --out {output.made} 2>> {log}"
