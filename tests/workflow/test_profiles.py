"""Profiles whose clusters are not there to be tested on: what a dry run can tell."""


def test_kubernetes_keeps_results_in_its_storage_and_sources_in_the_checkout(checkout, tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    plan = checkout.plan(
        *("--configfile", str(checkout.root / "config/quick.yaml")),
        *("--profile", str(checkout.root / "profiles/kubernetes")),
        *("--default-storage-prefix", str(storage), "--printshellcmds"),
    )
    assert (plan.counts["train"], plan.counts["run_study"], plan.counts["render"]) == (12, 15, 1)
    copy = f".snakemake/storage/fs{storage}"
    assert (
        f"--out {copy}/results/runs/dataset~digits/norm~batch/epochs~2/probe_every~5/batch_size~32/seed~0" in plan.text
    )
    assert f"bnstudy aggregate {copy}/results/run_config.yaml --results {copy}/results" in plan.text
    assert f"bnstudy claims config/claims.yaml --config {copy}/results/run_config.yaml" in plan.text
    assert f"bnstudy report --config {copy}/results/run_config.yaml --tables {copy}" in plan.text
