"""The recipes for a machine, a container and a cluster: each is run where that is possible here, and otherwise read.

`make recipes` installs the programs that check the rest against the official schemas.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from support.recipes import (
    EXAMPLES,
    NEEDED,
    PIPELINE,
    ROOT,
    VARIABLES,
    assert_valid,
    clean_environment,
    door,
    night,
    required,
)
from support.served import Served, served
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.settings_model import Settings

UNITS = sorted((EXAMPLES / "systemd").glob("crm*.*"))
HOPELESS = {1, 2, 4, 5}
"""Exit codes after which the same command ends in the same way."""


def text(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(text(name)))


def test_the_pipeline_is_valid() -> None:
    Settings(**tomllib.loads(text("crm.toml")))
    assert sorted(NEEDED) == ["CRM_DESTINATION", "CRM_SOURCE"]


# cron ------------------------------------------------------------------------------------------------------------

FIELD = r"(\*|\d+(-\d+)?(,\d+)*)(/\d+)?"
LINE = re.compile(rf"(?P<times>{FIELD}( +{FIELD}){{4}}) +(?P<command>.+)")


def cron_lines() -> list[re.Match[str]]:
    lines = [line for line in text("cron/crontab").splitlines() if line and not re.match(r"#|[A-Z]+=", line)]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), "a line is not five times and a command"
    return [line for line in found if line]


async def thanks(_: web.Request) -> web.Response:
    return web.Response()


@pytest.fixture
def webhook() -> Iterator[Served]:
    with served(thanks) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, webhook: Served) -> Path:
    """The folder /srv/crm of a machine, with the files that the recipe copies there."""
    shutil.copy(PIPELINE, tmp_path)
    door(tmp_path / ".venv" / "bin")
    variables = night(tmp_path, webhook.url)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    (tmp_path / "crm.env").write_text("".join(lines))
    return tmp_path


def mail(line: re.Match[str], machine: Path) -> str:
    """Return what cron would send: all that the command prints, started as cron does."""
    command = line["command"].replace("/srv/crm", str(machine))
    home = {"HOME": str(machine), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    ran = subprocess.run(["/bin/sh", "-c", command], env=home, cwd="/", capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


@pytest.mark.slow
def test_cron_sends_mail_and_an_alert_only_if_something_is_wrong(machine: Path, webhook: Served) -> None:
    load, check = cron_lines()
    assert mail(load, machine) + mail(check, machine) == ""
    assert webhook.calls == []
    with (machine / "crm.env").open("a") as file:
        file.write("export TRANSHIP_MAX_REJECTS=1\n")
    assert "10 of 46 records rejected" in mail(load, machine)
    [alert] = map(json.loads, webhook.bodies)
    assert (alert["pipeline"], alert["state"], alert["exit_code"]) == ("crm", "stopped", 5)
    shutil.rmtree(machine / "state")
    assert mail(check, machine), "a state directory without a success is late"


def test_no_line_of_cron_is_cut_at_a_percent_sign() -> None:
    assert all("%" not in line["command"] for line in cron_lines())


def test_the_files_of_variables_have_all_of_them() -> None:
    for name in ("cron/crm.env", "systemd/crm.env"):
        assert set(re.findall(r"^(?:export )?([A-Z_]+)=", text(name), re.MULTILINE)) >= VARIABLES, name


# systemd ---------------------------------------------------------------------------------------------------------

KEYS = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst"},
    "Timer": {"OnCalendar", "Persistent"},
    "Install": {"WantedBy"},
    "Service": {
        *("Type", "User", "WorkingDirectory", "EnvironmentFile", "StateDirectory", "StateDirectoryMode"),
        *("Environment", "ExecStart", "SuccessExitStatus", "Restart", "RestartSec", "RestartPreventExitStatus"),
        *("TimeoutStartSec", "TimeoutStopSec", "NoNewPrivileges", "PrivateTmp", "ProtectSystem", "ProtectHome"),
    },
}


@pytest.mark.parametrize("path", [path for path in UNITS if path.suffix != ".env"], ids=lambda p: p.name)
def test_a_unit_has_known_keys_and_a_valid_command(path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path, encoding="utf-8")
    for section in unit.sections():
        assert set(unit[section]) <= KEYS[section]
    if path.suffix == ".timer":
        assert path.with_suffix(".service").exists()
        assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:00", unit["Timer"]["OnCalendar"])
        return
    service = unit["Service"]
    assert_valid(service["ExecStart"].partition("bin/tranship ")[2])
    if service.get("Restart"):
        not_again = {int(code) for code in service["RestartPreventExitStatus"].split()}
        assert HOPELESS <= not_again <= set(EXIT_CODES)
        assert {6, 3}.isdisjoint(not_again)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """A program that is not installed would be reported, and so is a user that does not exist."""
    program = door(tmp_path)
    for path in UNITS:
        unit = path.read_text(encoding="utf-8").replace("/srv/crm/.venv/bin/tranship", str(program))
        (tmp_path / path.name).write_text(unit)
    units = [tmp_path / path.name for path in UNITS if path.suffix != ".env"]
    ran = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


# Docker ----------------------------------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the instructions of the Dockerfile, each on one line."""
    whole = re.sub(r" *\\\n *", " ", re.sub(r"^#.*\n", "", text("docker/Dockerfile"), flags=re.MULTILINE))
    for line in filter(None, whole.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, rest


def test_the_image_is_small_and_runs_without_root() -> None:
    found = list(instructions())
    assert {word for word, _ in found} <= {
        *("FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD")
    }
    stages = [rest.split(" AS ") for word, rest in found if word == "FROM"]
    assert [len(stage) for stage in stages] == [2, 1], "the last stage has no compilers and no sources"
    last = found[[number for number, (word, _) in enumerate(found) if word == "FROM"][-1] :]
    assert [rest for word, rest in last if word == "COPY"] == [f"--from={stages[0][1]} /tranship /tranship"]
    [user] = [rest for word, rest in last if word == "USER"]
    assert user.isdigit()
    assert int(user), "Kubernetes checks runAsNonRoot against a number"
    assert f"--uid {user} " in text("docker/Dockerfile")
    [extras] = re.findall(r"/source\[([\w,]+)\]", text("docker/Dockerfile"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    [command] = [yaml.safe_load(rest) for word, rest in last if word == "CMD"]
    assert_valid(shlex.join(command))


def test_the_builder_is_given_what_the_package_needs() -> None:
    lines = text("docker/Dockerfile.dockerignore").splitlines()
    given = {line.removeprefix("!") for line in lines if line.startswith("!")}
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.split("/")[0] for path in setup["tool"]["setuptools"]["package-dir"].values()}
    assert lines[0] == "*"
    assert given == {"pyproject.toml", "README.md", *setup["project"]["license-files"], *folders}


def test_the_container_cannot_write_its_root(tmp_path: Path) -> None:
    """Docker is replaced by a program that writes down its arguments."""
    (tmp_path / "docker").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "docker").chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CRM_EXPORTS": "/x", "CRM_CONFIG": "/c/crm.toml"}
    script = [EXAMPLES / "docker" / "run.sh", "runs", "--check", "max_age=26h"]
    words = subprocess.run(script, env=settings, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {
        "--rm",
        "--read-only",
        "no-new-privileges",
        "ALL",
        "/x:/exports:ro",
        "/c/crm.toml:/pipeline/crm.toml:ro",
    } <= {*words}
    passed = {after for word, after in pairwise(words) if word == "--env"}
    assert passed >= VARIABLES
    assert_valid(shlex.join(words[words.index("tranship") + 1 :]))
    ran = subprocess.run([script[0]], env={"PATH": settings["PATH"]}, capture_output=True, text=True, check=False)
    assert "Set CRM_EXPORTS to" in ran.stderr


READ_ONLY = """
for folder in / "$FOLDER" "$STATE"; do mount --bind "$folder" "$folder" || exit 99; done
for folder in / "$FOLDER"; do mount -o remount,bind,ro "$folder" || exit 99; done
cd "$STATE" && ! touch "$FOLDER/outside" 2> refused || exit 98
exec "$TRANSHIP" run "$PIPELINE" --quiet
"""
"""As this process sees the machine, it can write only to a folder for the state and temporary files."""


@pytest.mark.slow
def test_a_run_needs_to_write_only_its_state_and_temporary_files(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    variables = {"STATE": str(state), "FOLDER": str(tmp_path), "PIPELINE": str(PIPELINE)}
    program = {"TRANSHIP": str(door(tmp_path / "bin")), "TMPDIR": str(state)}
    environment = clean_environment() | night(state) | variables | program
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY]
    try:
        ran = subprocess.run(command, cwd=state, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if ran.returncode == 99 or "unshare: " in ran.stderr:
        pytest.skip(f"this process may not mount: {ran.stderr}")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Read-only file system" in (state / "refused").read_text()
    assert (state / "warehouse.duckdb").exists()


# docker compose, GitHub Actions, Kubernetes ----------------------------------------------------------------------


def test_compose_loads_into_a_database_that_is_ready() -> None:
    [compose] = documents("postgres/compose.yaml")
    assert set(compose) == {"name", "services", "volumes"}
    database, load, check = (compose["services"][name] for name in ("db", "load", "check"))
    assert database["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    for service in (load, check):
        assert service["depends_on"] == {"db": {"condition": "service_healthy"}}
        assert set(service["environment"]) >= VARIABLES
        assert (service["read_only"], service["cap_drop"], service["restart"]) == (True, ["ALL"], "no")
        folder = EXAMPLES / "postgres"
        assert (folder / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).exists()
        [pipeline] = [volume for volume in service["volumes"] if volume.endswith(":/pipeline/crm.toml:ro")]
        assert (folder / pipeline.split(":")[0]).resolve() == PIPELINE
        named = {volume.split(":")[0] for volume in service["volumes"] if volume[0].isalpha()}
        assert named <= set(compose["volumes"])
    assert_valid(shlex.join(check["command"]))


@pytest.fixture
def job() -> dict[str, Any]:
    [workflow] = documents("github-actions/crm.yml")
    # YAML reads the key `on` as true.
    assert set(workflow) == {"name", True, "concurrency", "permissions", "jobs"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert workflow["permissions"] == {"contents": "read"}
    return workflow["jobs"]["load"]


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (6, 0), (3, 3), (4, 4)])
def test_the_step_of_a_workflow_fails_unless_the_run_was_skipped(
    job: dict[str, Any], code: int, seen: int, tmp_path: Path
) -> None:
    (tmp_path / "tranship").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "tranship").chmod(0o755)
    [script] = [step["run"] for step in job["steps"] if step.get("name") == "Load"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = subprocess.run(["bash", "-e", "-c", script], env={"PATH": path}, capture_output=True, check=False)
    assert ran.returncode == seen
    assert_valid(re.findall(r"^tranship (.+?) \|\|", script, re.MULTILINE)[0])


def test_a_workflow_keeps_no_records(job: dict[str, Any]) -> None:
    assert set(job["env"]) >= VARIABLES
    state = job["env"]["TRANSHIP_STATE_DIR"]
    kept = {step["with"]["path"] for step in job["steps"] if "path" in step.get("with", {})}
    assert kept == {f"{state}/pipelines", f"{state}/runs/*/report.json"}
    for step in job["steps"]:
        assert set(step) <= {"name", "uses", "with", "run", "if"}
        assert re.fullmatch(r"actions/[\w/-]+@v\d+", step.get("uses", "actions/x@v1"))


def cron_jobs() -> list[Any]:
    return [document for document in documents("kubernetes/crm.yaml") if document["kind"] == "CronJob"]


@pytest.mark.parametrize("cron_job", cron_jobs(), ids=lambda found: found["metadata"]["name"])
def test_a_pod_has_few_rights_and_a_limit_of_memory(cron_job: Any) -> None:
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}\n" in text("docker/Dockerfile")
    [container] = pod["containers"]
    assert_valid(shlex.join(container["args"]))
    assert container["resources"]["limits"]["memory"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert "/state" in {mount["mountPath"] for mount in container["volumeMounts"]}
    secret = {variable["name"] for variable in container["env"] if "valueFrom" in variable}
    assert secret == {variable["name"] for variable in container["env"]} & {"PGPASSWORD", "CRM_ALERT"}


def test_a_job_is_tried_again_only_if_that_may_help() -> None:
    [load, _] = [cron_job["spec"]["jobTemplate"]["spec"] for cron_job in cron_jobs()]
    [codes] = [rule["onExitCodes"]["values"] for rule in load["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert set(codes) == HOPELESS
    [container] = load["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables.keys() >= VARIABLES
    assert variables["TRANSHIP_OVERLAP"] == "wait", "exit code 6 would be a failed pod"


def test_the_config_map_has_the_pipeline() -> None:
    [config] = [document for document in documents("kubernetes/crm.yaml") if document["kind"] == "ConfigMap"]
    assert config["data"]["crm.toml"] == text("crm.toml")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("hadolint", ["docker/Dockerfile"]),
        ("check-jsonschema", ["--builtin-schema", "vendor.compose-spec", "postgres/compose.yaml"]),
        ("check-jsonschema", ["--builtin-schema", "vendor.github-workflows", "github-actions/crm.yml"]),
        ("kubernetes-validate", ["--strict", "kubernetes/crm.yaml"]),
    ],
    ids=["Dockerfile", "compose", "GitHub Actions", "Kubernetes"],
)
def test_the_official_schemas_accept_it(program: str, arguments: list[str]) -> None:
    path = required("linters", program)
    ran = subprocess.run(
        [path, *arguments], cwd=EXAMPLES, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
