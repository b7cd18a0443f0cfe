"""What is deployed: files that KubeRay and Kubernetes accept, as far as can be told without them, and a small upload.

KubeRay's own schemas hold all of a pod and are megabytes; the ones here are written by its API reference (ray.io/v1 of
KubeRay 1.6 and 1.7) for the fields that we use, and know no others: one that is mistyped or in the wrong place fails.
"""

import copy
import re
import shlex
import zipfile
from importlib.metadata import version
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from musicrec.cli import cli

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def thing(required="", **properties):
    """Schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
        "minProperties": 1,
    }


def several(items):
    return {"type": "array", "items": items, "minItems": 1}


def constant(value):
    return {"const": value}


TEXT, YES, COUNT = {"type": "string", "minLength": 1}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|Ki|Mi|Gi)?$"}}
CRON = {"type": "string", "pattern": r"^(\S+ ){4}\S+$"}
CONTAINER = thing(
    "name image resources",
    name=TEXT,
    image=TEXT,
    command=several(TEXT),
    ports=several(thing("containerPort", name=TEXT, containerPort=COUNT)),
    resources=thing("requests limits", requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=several(thing("name mountPath", name=TEXT, mountPath=TEXT, readOnly=YES)),
)
VOLUME = thing(
    "name", name=TEXT, persistentVolumeClaim=thing("claimName", claimName=TEXT), configMap=thing("name", name=TEXT)
)
POD = thing(
    "spec",
    spec=thing(
        "containers",
        containers=several(CONTAINER),
        volumes=several(VOLUME),
        serviceAccountName=TEXT,
        restartPolicy={"enum": ["Never", "OnFailure"]},
    ),
)
WORKERS = thing(
    "groupName minReplicas maxReplicas rayStartParams template",
    groupName=TEXT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=STRINGS,
    template=POD,
)
RAY_JOB = thing(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    submitterConfig=thing(backoffLimit=COUNT),
    shutdownAfterJobFinishes=YES,
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=thing(
        "headGroupSpec",
        rayVersion=TEXT,
        authOptions=thing("mode", mode=constant("token")),
        enableInTreeAutoscaling=YES,
        autoscalerOptions=thing(idleTimeoutSeconds=COUNT),
        headGroupSpec=thing("rayStartParams template", rayStartParams=STRINGS, template=POD),
        workerGroupSpecs=several(WORKERS),
    ),
)
CRON_JOB = thing(
    "schedule jobTemplate",
    schedule=CRON,
    timeZone=TEXT,
    concurrencyPolicy={"enum": ["Allow", "Forbid", "Replace"]},
    startingDeadlineSeconds=COUNT,
    successfulJobsHistoryLimit=COUNT,
    failedJobsHistoryLimit=COUNT,
    jobTemplate=thing("spec", spec=thing("template", backoffLimit=COUNT, activeDeadlineSeconds=COUNT, template=POD)),
)
KINDS = {
    ("ray.io/v1", "RayJob"): RAY_JOB,
    ("ray.io/v1", "RayCronJob"): thing("schedule jobTemplate", schedule=CRON, timeZone=TEXT, jobTemplate=RAY_JOB),
    ("batch/v1", "CronJob"): CRON_JOB,
}
FILES = sorted((DEPLOY / "kuberay").glob("*.yaml"))


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / "kuberay" / name).read_text()))


def validate(document):
    spec = KINDS[document["apiVersion"], document["kind"]]
    meta = thing(name=TEXT, generateName=TEXT)
    whole = thing("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=meta, spec=spec)
    jsonschema.validate(document, whole)


def pods(node):
    """Every pod spec in a document."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from pods(value)


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml", "cronjob.yaml"])
def test_every_field_is_one_that_kuberay_and_kubernetes_know(name):
    validate(documents(name)[0])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "schedul"], "0 2 * * *"),
        (["spec", "activeDeadlineSeconds"], "5h"),
        (["spec", "rayClusterSpec", "enableInTreeAutoscaling"], "yes"),
        (["spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"], 0),  # strings only
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "replica"], 1),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources"], {}),
    ],
)
def test_the_validation_bites(path, value):
    document = copy.deepcopy(documents("rayjob.yaml")[0])
    *parents, last = path
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_the_cron_job_of_kuberay_runs_the_job_as_it_is():
    assert documents("raycronjob.yaml")[0]["spec"]["jobTemplate"] == documents("rayjob.yaml")[0]["spec"]


def test_the_plain_cron_job_may_create_that_job_and_nothing_else():
    cron, account, role, binding = documents("cronjob.yaml")
    (pod,) = pods(cron)
    assert pod["serviceAccountName"] == account["metadata"]["name"] == binding["subjects"][0]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create"]}]
    *_, file = pod["containers"][0]["command"]
    assert file == f"{pod['containers'][0]['volumeMounts'][0]['mountPath']}/rayjob.yaml"
    assert "generateName" in documents("rayjob.yaml")[0]["metadata"]  # a new one each night


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_volumes_that_are_mounted_are_there_and_ask_for_what_they_may_use(file):
    found = [pod for document in documents(file.name) for pod in pods(document)]
    assert found
    for pod in found:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_the_entrypoint_is_a_command_there_is_and_ends_before_it_is_ended():
    spec = documents("rayjob.yaml")[0]["spec"]
    program, name, *arguments = shlex.split(spec["entrypoint"])
    assert program == "musicrec"
    with cli.commands[name].make_context(name, arguments) as context:
        assert isinstance(context, click.Context)
        assert context.params["deadline"].total_seconds() + 900 < spec["activeDeadlineSeconds"]


def test_every_file_names_the_ray_that_is_locked():
    (locked,) = re.findall(r"^ray(?:\[[a-z,]+\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked == version("ray")
    for file in (ROOT / "cluster.yaml", DEPLOY / "Containerfile", DEPLOY / "kuberay" / "rayjob.yaml"):
        named = re.findall(r"(?:rayproject/ray:|rayVersion: )(\d+\.\d+\.\d+)", file.read_text())
        assert set(named) == {locked}, file


def test_what_the_container_copies_is_there():
    lines = re.findall(r"^COPY --chown=ray (.+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    sources = [source for line in lines for source in line.split()[:-1]]
    assert {"requirements.lock", "musicrec", "jobs"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_a_submitted_job_uploads_the_code_and_little_else(tmp_path):
    from ray._private.runtime_env.packaging import create_package
    from ray.runtime_env import RuntimeEnv

    runtime_env = RuntimeEnv(**yaml.safe_load((DEPLOY / "runtime_env.yaml").read_text()))  # Ray checks its fields
    create_package(str(ROOT), tmp_path / "code.zip", include_gitignore=True, excludes=runtime_env["excludes"])
    with zipfile.ZipFile(tmp_path / "code.zip") as package:
        names = package.namelist()
    code = {str(path.relative_to(ROOT)): path for room in ("musicrec", "jobs") for path in (ROOT / room).rglob("*.py")}
    assert set(code) <= set(names)
    assert {name.split("/")[0] for name in names if "/" in name.rstrip("/")} == {"musicrec", "jobs"}
    its_size = sum(path.stat().st_size for path in code.values())
    assert (tmp_path / "code.zip").stat().st_size < 1.3 * its_size  # Ray compresses nothing
