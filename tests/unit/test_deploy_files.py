"""What lies in deploy/: each file is right by its own tool, and agrees with the settings."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.reference.environment import variable
from cli.reference.files import generated
from config.settings import PROJECT_ROOT, Settings

DEPLOY = PROJECT_ROOT / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
UNITS = sorted((DEPLOY / "systemd").iterdir())
VARIABLES = {variable(name) for name in Settings.model_fields}
ASSIGNED = re.compile(r"^#?([A-Z_]+)=(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """Its instructions, a line each."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: path.name)
def test_generated_file_is_that_of_the_code(path: Path) -> None:
    """`make reference` would change nothing."""
    assert path.read_text(encoding="utf-8") == generated()[path]


def test_every_setting_is_explained() -> None:
    """None is without a sentence of its own."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_environment_file_names_every_setting_with_its_default() -> None:
    """Taking all the signs away changes nothing: the values are valid, and those of no file at all."""
    found = dict(ASSIGNED.findall((DEPLOY / "tcp.env").read_text()))
    assert set(found) == VARIABLES
    given = {name.removeprefix("TCP_").lower(): value for name, value in found.items() if value}
    defaults = {name: Settings.model_fields[name].default for name in given}
    below = {name: str(value).removeprefix(f"{PROJECT_ROOT}/") for name, value in defaults.items()}
    assert Settings(**given).model_dump(include=set(given)) == Settings(**below).model_dump(
        include=set(given)
    )


def test_compose_file_is_valid() -> None:
    """By the specification's own schema."""
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_compose_publishes_on_loopback_alone_and_watches_every_service(compose) -> None:
    """Databases publish nothing; what stays up has a healthcheck, bounded logs and is started again."""
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["logging"]["options"]["max-file"], name
        if name != "migrate":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name
    assert {name for name, one in compose["services"].items() if "ports" in one} == {
        "dashboard",
        "dagster",
        "prometheus",
        "grafana",
    }


def test_whoever_tells_waits_for_nobody(compose) -> None:
    """A database that is away, or a migration that fails, keeps the other parts from starting, not the one
    that tells so."""
    unit = (DEPLOY / "systemd" / "tcp-notify.service").read_text()
    assert (
        re.findall(r"^(?:Requires|Wants|BindsTo|After)=(.+)$", unit, re.MULTILINE)
        == ["network-online.target"] * 2
    )
    assert compose["services"]["notify"]["depends_on"] == {}


def test_compose_keeps_data_in_named_volumes(compose) -> None:
    """No volume is anonymous or unused; files of the checkout that are mounted are there, and read-only."""
    mounts = [mount for one in compose["services"].values() for mount in one["volumes"]]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert {mount.split(":")[0] for mount in mounts if mount not in files} == set(compose["volumes"])
    for mount in files:
        assert mount.endswith(":ro")
        assert (DEPLOY / mount.split(":")[0]).exists() or mount.startswith("./observe/token:")


def test_compose_sets_settings_that_exist(compose) -> None:
    """Every TCP_ variable it hands to a container is a setting; every one it asks for is in compose.env."""
    for name, service in compose["services"].items():
        given = (
            {key for key in service["environment"] if key.startswith("TCP_")}
            if "environment" in service
            else set()
        )
        assert given <= VARIABLES, name
    asked = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text()))
    assert asked == set(dict(ASSIGNED.findall((DEPLOY / "compose.env").read_text())))


def test_image_has_stages_and_runs_as_nobody_special(dockerfile) -> None:
    """Built in one stage and run in another, by a user without rights, watched, its data in volumes."""
    last = max(number for number, line in enumerate(dockerfile) if line.startswith("FROM"))
    names = [line.split()[0] for line in dockerfile]
    final = dockerfile[last:]
    assert names.count("FROM") == 2
    assert [line for line in final if line.startswith("USER")] == ["USER tcp"]
    assert {"HEALTHCHECK", "VOLUME", "EXPOSE", "ENTRYPOINT"} <= {line.split()[0] for line in final}
    assert "ADD" not in names
    assert not any("latest" in line for line in dockerfile if line.startswith("FROM"))


def test_image_copies_what_the_build_is_given(dockerfile) -> None:
    """Each source exists and is not left out by .dockerignore; each variable is a setting."""
    kept = re.findall(r"^!(.+)$", (PROJECT_ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    for line in dockerfile:
        if line.startswith("COPY") and "--from" not in line:
            sources = [part for part in line.split()[1:-1] if not part.startswith("--") and part != "."]
            for source in sources:
                assert (PROJECT_ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source.split("/")[0], name.split("/")[0]) for name in kept), source
    assert {found for line in dockerfile for found in re.findall(r"\b(TCP_[A-Z_]+)=", line)} <= VARIABLES
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        packages = {
            line.split("/")[0] for line in tracked.stdout.splitlines() if line.endswith("/__init__.py")
        }
        assert packages - {"tests"} <= set(kept)


def test_commands_see_what_the_units_see() -> None:
    """`deploy/tcp` has the account, the folders and the file of settings of tcp-live.service, may write where
    that may and where files come from, and begins in TCP_HOME."""
    unit, script = (DEPLOY / "systemd" / "tcp-live.service").read_text(), (DEPLOY / "tcp").read_text()
    folders = set(re.findall(r"\b(TCP_[A-Z_]+=\S+)", unit))
    assert len(folders) == 4
    assert set(re.findall(r"--setenv=(\S+)", script)) == folders
    for name, option in (
        ("User", "--uid"),
        ("Group", "--gid"),
        ("EnvironmentFile", "--property=EnvironmentFile"),
    ):
        (value,) = re.findall(rf"^{name}=(.+)$", unit, re.MULTILINE)
        assert f"{option}={value} " in script.replace("\n", " "), name
    assert re.findall(r'--property=StateDirectory="([^"]+)"', script) == re.findall(
        r"StateDirectory=(.+)", unit
    )
    assert "--property=ProtectSystem=strict " in script
    (writable,) = re.findall(r'--property=ReadWritePaths="([^"]+)"', script)
    assert set(writable.split()) == {
        *re.findall(r"^ReadWritePaths=(.+)$", unit, re.MULTILINE),
        "/tmp",
        "/var/tmp",
    }
    assert "TCP_HOME=" + re.findall(r"--working-directory=(\S+)", script)[0] in folders
    assert subprocess.run(["sh", "-n", str(DEPLOY / "tcp")]).returncode == 0


def test_image_holds_no_secret() -> None:
    """What git is told to leave out of deploy/, because it holds passwords, is not sent to the build."""
    kept = re.findall(r"^!(.+)$", (PROJECT_ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    secrets = [
        line for line in (PROJECT_ROOT / ".gitignore").read_text().splitlines() if line.startswith("deploy/")
    ]
    assert len(secrets) == 2
    assert not [line for line in secrets if any(fnmatch.fnmatch(line, f"{name}*") for name in kept)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_units_are_valid(tmp_path: Path) -> None:
    """systemd itself has nothing to say about them."""
    for unit in UNITS:
        here = unit.read_text().replace(
            "/opt/tcp-dashboard/.venv/bin/tcp", str(Path(sys.executable).with_name("tcp"))
        )
        (tmp_path / unit.name).write_text(here)
    names = [str(tmp_path / unit.name) for unit in UNITS]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_documented_steps_enable_every_unit() -> None:
    """Each is named by a `systemctl enable` of docs/deploy.md, or wanted or required by one that is."""
    page = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    commands = re.findall(r"systemctl enable --now ([^#\n]+)", page)
    started = {unit for command in commands for unit in command.split()}
    texts = {unit.name: unit.read_text() for unit in UNITS}
    for _ in UNITS:
        lines = [re.findall(r"^(?:Wants|Requires)=(.+)$", texts[name], re.MULTILINE) for name in started]
        started |= {name for line in lines for words in line for name in words.split() if name in texts}
    assert started == set(texts)


def test_dagster_runs_where_it_is_enabled_alone() -> None:
    """Its database takes one daemon: on a second host the target starts the other services, and at a boot
    too, once enabled, with Dagster where that is enabled."""
    target = (DEPLOY / "systemd" / "tcp-dashboard.target").read_text()
    assert re.findall(r"^Wants=(.+)$", target, re.MULTILINE) == ["tcp-live.service tcp-dashboard.service"]
    assert "WantedBy=tcp-dashboard.target" in (DEPLOY / "systemd" / "tcp-dagster.service").read_text()


def test_documented_restore_stops_all_that_runs_on_the_database(compose) -> None:
    """Every container of the product's image, and with one unit each service of its way."""
    page = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    (containers,) = re.findall(r"docker compose --profile notify stop (.+)", page)
    ours = {name for name, one in compose["services"].items() if one["image"].startswith("${TCP_IMAGE")}
    assert set(containers.split()) == ours
    stopped = re.search(r"systemctl stop (\S+) +# or (\S+)", page)
    assert stopped is not None
    parts = {unit.name for unit in UNITS if f"PartOf={stopped[2]}" in unit.read_text()}
    assert {*stopped.groups(), *parts} == {unit.name for unit in UNITS}


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name
)
def test_service_is_restarted_and_may_do_little(unit: Path) -> None:
    """An own user, its variables from the file, a read-only system; what stays up is started again."""
    text = unit.read_text()
    assert {"User=tcp", "ProtectSystem=strict", "NoNewPrivileges=yes", "UMask=0077"} <= set(text.splitlines())
    assert "EnvironmentFile=/etc/tcp-dashboard/tcp.env" in text
    assert set(re.findall(r"\b(TCP_[A-Z_]+)=", text)) <= VARIABLES
    assert "Type=oneshot" in text or re.search(r"^Restart=(always|on-failure)$", text, re.MULTILINE)
    written = set(re.findall(r"^ReadWritePaths=-?(.+)$", text, re.MULTILINE))
    page = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    assert "/srv/tcp" in written and all(
        folder.removeprefix("/opt/tcp-dashboard/") in page for folder in written
    )
