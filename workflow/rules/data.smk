"""From public mirrors, or images of the user's own, to one file per dataset, which every run opens.

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
    # Before anything is trained, so that a source that fails is known at once.
    priority: 2
    retries: 2
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        plugins=plugin_options(),
    shell:
        "bnstudy download {wildcards.dataset} --out {output} {params.plugins:q} 2> {log}"


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
    priority: 1
    threads: 1
    resources:
        mem_mb=preparing_memory,
        runtime=60,
    params:
        note=made_from("prepare", "{dataset}"),
        images=images_option,
        plugins=plugin_options(),
    shell:
        "bnstudy prepare {wildcards.dataset} {params.images:q} {params.plugins:q}"
        " --out {output.data} 2> {log}"
        " && bnstudy note --out {output.made} {params.note:q} {output.data} 2>> {log}"
