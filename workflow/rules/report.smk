"""From the tables to the report.

Input: results/run_config.yaml, results/tables/, results/data/<dataset>/prepared.safetensors
Output: report/report.html, report/<name>.ipynb, results/figures/
"""


rule render:
    """Execute the notebook and render it to one self-contained HTML file."""
    input:
        config="results/run_config.yaml",
        tables=rules.aggregate.output,
        claims=[source("config/claims.yaml"), *rules.judge_claims.output],
        data=expand("results/data/{dataset}/prepared.safetensors", **config["grid"]),
        notebook=source("report/notebook.py"),
        report=report_sources(),
        code=package_code(),
        verification=verification_table(),
    output:
        html="report/report.html",
        notebook=f"report/{config['report']['name']}.ipynb",
        figures=directory("results/figures"),
    log:
        "results/logs/render.log",
    benchmark:
        "results/benchmarks/render.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        tables=folder_of_tables,
    shell:
        "bnstudy report --config {input.config} --tables {params.tables}"
        " --claims {input.claims[0]:q} --data {input.data}"
        " --notebook {input.notebook:q} --figures {output.figures}"
        " --ipynb {output.notebook} --html {output.html}"
        " --failed-copy results/logs/render.failed.ipynb 2> {log}"
