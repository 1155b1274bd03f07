"""What batch normalization does to training: a grid of runs, tables, one report.

`snakemake --cores all` makes everything, `snakemake --cores all tables` stops before the report,
`... archive` packs it all into one file, `... verify` tells whether the published runs reproduce here.
What is trained is up to config/config.yaml; how it is run, to profiles/.
"""

from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.13")
if find_spec("bnstudy") is None:
    raise WorkflowError(
        "the environment that this snakemake is from has no package bnstudy; run `make env` and "
        "`source .venv/bin/activate` in the checkout, or `pip install --editable` the checkout here"
    )
# Where this file is, also when another workflow imports it as a module.
ROOT = str(workflow.current_basedir)
for path in Path(ROOT, "config").glob("*.yaml"):
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise WorkflowError(f"{path} is not UTF-8 text (UTF-16?); save it as that") from None


configfile: f"{ROOT}/config/studies.yaml"
configfile: f"{ROOT}/config/config.yaml"


report: f"{ROOT}/report/captions/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/release.smk"


rule all:
    """Everything: the runs, the tables and the report."""
    default_target: True
    input:
        rules.aggregate.output,
        rules.render.output,


rule tables:
    """The runs and their tables, without the report."""
    input:
        rules.aggregate.output,
        rules.judge_claims.output,


rule archive:
    """The finished study in one file, to publish: tables, report, sources and a description."""
    input:
        rules.pack.output,


rule report:
    """The rendered report and the executed notebook."""
    input:
        rules.render.output,


onstart:
    start()


onsuccess:
    logger.info(success_message())


onerror:
    failed()
