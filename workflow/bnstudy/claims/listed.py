"""The list of claims: what stands in config/claims.yaml and in the configuration, and what is wrong with it.

A claim whose endpoint is a metric of runs needs no code: it names the metric, a level of an axis, and the direction.
Nothing here imports more than the configuration does, for it is checked before any job.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from bnstudy import config as configuration
from bnstudy.config import default_studies, seeds_needed, violations
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.schema import ROOT, SCHEMAS
from bnstudy.scoring import METRICS, RESULTS
from bnstudy.settings import SETTINGS, closest, label, show, text
from bnstudy.studies.declaration import CODE_STUDIES, grids, seeds_of

SCHEMA = SCHEMAS / "claims.schema.yaml"
LIST = ROOT / "config/claims.yaml"
CORE = "core"  # the study that is the grid itself
TREATMENT = configuration.DEFAULTS["compare"]  # of config/claims.yaml, and of studies
SPLITS = {"train": "training", "train_subset": "training", "val": "validation", "test": "test"}
SPLITS |= {"validation": "validation", "probe": "probe"}
COUNTS = ("n_parameters", "n_train", "n_steps", "steps_done")


def read(path: Path) -> dict:
    """Read and check config/claims.yaml: `claims`, `version`, and `further`, what is shown besides.

    A list that is missing, does not fit the schema or uses an id twice is refused.
    """
    try:
        found = read_yaml(path)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as a list of claims: {error}.") from None
    configuration.refuse(violations(found, read_yaml(SCHEMA)))
    ids = [claim["id"] for claim in found["claims"]]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise UserError(f"{path}: the id {', '.join(sorted(twice))} is used twice.")
    return {"version": 1, "further": []} | found


def registered(path: Path, config: Mapping) -> list[dict]:
    """The claims of config/claims.yaml: about batch normalization, so none where something else is compared."""
    return read(path)["claims"] if treatment(config) == TREATMENT else []


def judged_claims(path: Path, config: Mapping) -> list[dict]:
    """The claims that are judged with a configuration, complete: the registered ones and its own."""
    claims = [*registered(path, config), *config.get("claims", [])]
    return [complete(claim, config) for claim in claims]


def treatment(config: Mapping, study: str = CORE) -> Mapping:
    """What a study compares: axis and baseline."""
    where = config if study == CORE else config.get("studies", {}).get(study, {})
    return where.get("compare", TREATMENT)


def axes_of(study: str, config: Mapping) -> dict[str, list]:
    """The axes of a study, and the values of each."""
    if study == CORE:
        return config.get("grid", {})
    entry = config.get("studies", {}).get(study, {})
    found: dict[str, list] = {"seed": list(seeds_of(entry, entry.get("seeds", 0)))}
    for one in grids(entry) if "grid" in entry else ():
        for axis, values in one.items():
            found.setdefault(axis, [])
            found[axis] += [value for value in values if value not in found[axis]]
    return found


def complete(claim: Mapping, config: Mapping) -> dict:
    """A claim with what it leaves out; one that names a metric is described by what it compares.

    What cannot be filled in is None: `problems` says so before any job.
    """
    known = {"kind": "statistical", "study": CORE, "claim": "", "line": "", "expected": ""}
    known |= {"source": "", "prior": None} | claim
    if "metric" not in claim:
        return known
    usual, axes = treatment(config, known["study"]), axes_of(known["study"], config)
    axis = claim.get("axis", usual["axis"])
    baseline = claim.get("baseline", usual["baseline"] if axis == usual["axis"] else None)
    others = [one for one in axes.get(axis, []) if written(axis, one) != written(axis, baseline)]
    level = others[0] if len(others) == 1 else None
    known = {"level": level, "scale": "difference", "where": {}} | known
    known |= {"axis": axis, "baseline": baseline, "endpoint": claim["metric"]}
    known.setdefault("unit", unit(claim["metric"], known["scale"]))
    return {"measure": measure(known), "scope": scope(known, axes)} | known


def written(axis: str, value: object) -> str:
    """A level as tables have it."""
    one = SETTINGS.get(axis)
    return text(value if one is None or one.problem(value) else one.value(value))


def words(axis: str, value: str) -> str:
    """A level in prose, from the way that tables have it: "batch size 32", "SGD"."""
    try:
        return SETTINGS[axis].named(SETTINGS[axis].read(value))
    except (KeyError, ValueError):  # an axis of variants, or no such value
        return f"{axis.replace('_', ' ')} {value}"


def level_words(axis: str, values: Sequence) -> list[str]:
    """Levels in prose, from the way that the configuration has them."""
    return [words(axis, written(axis, value)) for value in values]


def several(axis: str, value: object) -> list:
    """The levels that `where` allows: one, or a list of them."""
    is_list = isinstance(value, list) and not (axis in SETTINGS and SETTINGS[axis].type is tuple)
    return value if is_list else [value]


def is_steps(metric: str) -> bool:
    return metric.removeprefix("ln_").startswith("steps_to_")


def unit(metric: str, scale: str) -> str:
    """The unit of the effect of a metric."""
    if scale == "ratio" or metric.startswith("ln_"):
        return "ln ratio"
    if is_steps(metric):
        return "steps"
    return {"accuracy": "percentage points", "loss": "nats"}.get(result(metric), "")


def result(metric: str) -> str:
    """`accuracy` or `loss` for what every run records of its splits, else empty."""
    split, _, kind = metric.replace("/", "_").rpartition("_")
    return kind if split in SPLITS and kind in ("accuracy", "loss") else ""


def measure(claim: Mapping) -> str:
    """What a claim about a metric compares, in words; above zero, or one, is as it says."""
    metric, kind = claim["metric"], result(claim["metric"])
    if kind:
        said = f"{SPLITS[metric.replace('/', '_').rpartition('_')[0]]} {kind}"
    elif is_steps(metric):
        aim = metric.rpartition("_")[2]
        said = f"steps to {'the target' if aim == 'target' else f'{aim} %'}"
    else:
        said = metric.replace("_", " ").replace("/", ", ")
    arms = level_words(claim["axis"], [claim["level"], claim["baseline"]])
    if claim["direction"] == "lower":
        arms.reverse()
    where = claim["where"].items()
    parts = [f"with {' or '.join(level_words(k, several(k, value)))}" for k, value in where]
    between = "over" if claim["unit"] == "ln ratio" else "minus"
    return ", ".join([said, f" {between} ".join(arms), *parts])


def scope(claim: Mapping, axes: Mapping[str, Sequence]) -> str:
    """What a claim about a metric holds for: the values of the other axes of its study."""
    where = {axis: several(axis, value) for axis, value in claim["where"].items()}
    return "; ".join(
        ", ".join(level_words(axis, where.get(axis, values)))
        for axis, values in axes.items()
        if axis not in (claim["axis"], "seed")
    )


def problems(claims: Sequence[Mapping], config: Mapping) -> list[str]:
    """What is wrong with the claims of a configuration, and with the studies and claims that it runs.

    Each is one sentence that begins with the key it is about.
    """
    structure = read_yaml(SCHEMA) | {"required": []}
    if wrong := list(violations({"claims": list(claims)}, structure)):
        return wrong
    listed, found = registered(LIST, config), []
    taken = [claim["id"] for claim in listed]
    for i, claim in enumerate(claims):
        if claim["id"] in taken:
            found.append(f"claims[{i}].id: {claim['id']} is used twice; every claim has its own.")
        taken.append(claim["id"])
        found += [f"claims[{i}].{problem}" for problem in claim_problems(claim, config)]
    for claim in listed:
        if claim["study"] not in {CORE, *default_studies()}:
            near = closest(claim["study"], list(default_studies()))
            found.append(f"{claim['id']}.study: there is no study {claim['study']}{near}.")
    found += study_problems([*listed, *claims], config)
    arms = {"none", "batch"} <= set(config["grid"]["norm"])  # of what is registered of the grid
    if not found and not config["exploratory"] and (claims or arms):
        found += seed_problems([complete(claim, config) for claim in [*listed, *claims]], config)
    return found


def claim_problems(claim: Mapping, config: Mapping) -> Iterator[str]:
    """What is wrong with a claim of the configuration, key first."""
    if claim.get("kind") == "exact" or "metric" not in claim:
        yield "metric: a claim of the configuration is about a metric of runs; name one."
        return
    study = claim.get("study", CORE)
    if study != CORE and (problem := no_runs(study, config)):
        yield f"study: {problem}"
        return
    known = known_metrics(study, config)
    observed = config["observers"] if study == CORE else config["studies"][study].get("observers")
    near = closest(claim["metric"], known, "" if observed else "there are")
    if claim["metric"] not in known and near:
        yield f"metric: there is no {claim['metric']}{near}."
    full, axes = complete(claim, config), axes_of(study, config)
    axis = full["axis"]
    if axis not in axes or axis == "seed":
        names = [name for name in axes if name != "seed"]
        near = closest(axis, names) or f"; {', '.join(names)} are"
        yield f"axis: {axis} is not swept{near}."
        return
    for key in ("baseline", "level"):
        if full[key] is None:
            name = label(axis) if axis in SETTINGS else axis
            yield f"{key}: this key is missing; {name} has the values {show(axes[axis])}."
        else:
            yield from value_problem(key, axis, full[key], axes)
    if written(axis, full["level"]) == written(axis, full["baseline"]):
        yield f"level: {show(full['level'])} is the baseline itself; name another."
    for name, value in full["where"].items():
        if name not in axes or name == axis:
            names = [one for one in axes if one not in (axis, "seed")]
            yield f"where.{name}: is not swept besides{closest(name, names)}."
        else:
            yield from value_problem(f"where.{name}", name, value, axes)


def value_problem(key: str, axis: str, value: object, axes: Mapping[str, Sequence]) -> Iterator[str]:
    """That an axis does not have a value, or one of several."""
    known = [written(axis, one) for one in axes[axis]]
    for one in several(axis, value):
        if written(axis, one) not in known:
            yield f"{key}: {show(one)} is not among the values of {axis} ({show(axes[axis])})."


def no_runs(study: str, config: Mapping) -> str:
    """Why no metric of the runs of a study can be compared; empty if it can."""
    studies = config["studies"]
    if study not in studies:
        return f"there is no {study}{closest(study, studies, 'there are')}."
    if not studies[study]["enabled"]:
        return f"{study} is switched off; write studies.{study}.enabled: true."
    if studies[study].get("rows", "run") != "run" or study in CODE_STUDIES:
        return f"the table of {study} has no row for each run, so it has no metric of runs."
    return ""


def known_metrics(study: str, config: Mapping) -> list[str]:
    """The metrics that every run of a study has."""
    if study == CORE:
        series = [f"{split}/{kind}" for split, kind in RESULTS.values()]
        return [*METRICS, *COUNTS, *series, "train/loss", "train/accuracy", "probe/accuracy"]
    targets = config["studies"][study].get("targets", [])
    steps = [f"steps_to_{round(100 * target)}" for target in targets]
    return [*METRICS, *steps, *(f"ln_{name}" for name in steps)]


def study_problems(claims: Sequence[Mapping], config: Mapping) -> Iterator[str]:
    """What a study that is run lacks to have its place in the report; those that ship have theirs."""
    measured = {claim.get("study", CORE) for claim in claims} | default_studies().keys()
    for name, study in config["studies"].items():
        for key, use in (("code", "heads"), ("title", "heads"), ("text", "introduces")):
            if study["enabled"] and not study.get(key):
                yield f"studies.{name}.{key}: this key is missing; it {use} the study's section."
        if study["enabled"] and name not in measured:
            yield f"studies.{name}: no claim is about it; add one to `claims`, with `study: {name}`."


def seed_problems(claims: Sequence[Mapping], config: Mapping) -> Iterator[str]:
    """That there are more statistical claims than the seeds of a study can carry."""
    studies = [claim["study"] for claim in claims if claim["kind"] == "statistical"]
    needed = seeds_needed(len(studies))
    for study in dict.fromkeys(studies):
        key, seeds = f"studies.{study}.seeds", needed
        if study == CORE:
            key, seeds = "grid.seed", len(config["grid"]["seed"])
        elif config["studies"].get(study, {}).get("enabled"):
            seeds = config["studies"][study]["seeds"]
        if seeds < needed:
            yield (
                f"{key}: {seeds} seeds cannot carry {len(studies)} statistical claims, for the smallest p "
                f"that is left after Holm's correction is not below {configuration.ALPHA:g}; take "
                f"{needed}, or make claims `kind: exploratory`, or write `exploratory: true`."
            )
