"""From the tables to the report.

Input: results/run_config.yaml, results/tables/, results/data/<dataset>/prepared.safetensors
Output: report/report.html, report/<name>.ipynb, results/figures/
        or of an unfinished study, by `snakemake partial`: report/partial.html, results/partial/
"""


rule render:
    """Execute the notebook and render it to one self-contained HTML file."""
    input:
        config="results/run_config.yaml",
        tables=rules.aggregate.output,
        claims=rules.judge_claims.output,
        data=KEYS.grid_data,
        verification=verification_table(),
        made=noted("render"),
    output:
        html=report(
            "report/report.html",
            caption=f"{ROOT}/report/captions/page.rst",
            category="Report",
            labels={"content": "the whole report"},
        ),
        notebook=f"report/{config['report']['name']}.ipynb",
        figures=report(
            directory("results/figures"),
            patterns=["{name}.svg"],
            caption=f"{ROOT}/report/captions/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
        made=note("render"),
    log:
        "results/logs/render.log",
    benchmark:
        "results/benchmarks/render.tsv"
    threads: 4
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        note=made_from("render"),
        claims=source("config/claims.yaml"),
        notebook=source(f"report/{notebook_for(config)}"),
        tables=folder_of_tables,
    shell:
        "bnstudy report --config {input.config} --tables {params.tables}"
        " --claims {params.claims:q} --data {input.data}"
        " --notebook {params.notebook:q} --figures {output.figures}"
        " --ipynb {output.notebook} --html {output.html}"
        " --failed-copy results/logs/render.failed.ipynb 2> {log}"
        " && bnstudy note --out {output.made} {params.note:q} {output.html} {output.notebook:q}"
        " {output.figures} 2>> {log}"


rule partial:
    """Report what there is of an unfinished study and list what is missing; trains nothing.

    It has no output, so that it always runs, and no input that a job makes, so that none starts.
    """
    log:
        "results/logs/partial.log",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        config=recorded_config,
        claims=source("config/claims.yaml"),
        data=prepared_data,
        notebook=source(f"report/{notebook_for(config)}"),
    shell:
        PARTIAL
