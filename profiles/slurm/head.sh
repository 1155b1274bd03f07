#!/bin/bash
# Snakemake itself as a job, for sites whose login hosts end long processes. In the study's folder:
#   sbatch --account=NAME --partition=NAME profiles/slurm/head.sh [further options of snakemake]
# It submits the others and waits for them; ended early, the same command goes on where it was.
# Nodes without a network: run `snakemake --cores 1 --until prepare` on the login host before.
#SBATCH --job-name=head
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=1-00:00:00
#SBATCH --output=snakemake-%j.log
set -euo pipefail
source .venv/bin/activate
exec snakemake --cores all --profile profiles/slurm "$@"
