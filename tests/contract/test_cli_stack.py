"""The pure parts of the stack: ports, addresses, supervisord's configuration, files of a home."""

import configparser
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from cli.sim import fault_object, milliseconds
from cli.stack import process
from cli.stack.addresses import without_password
from cli.stack.bound_ports import check_port
from cli.stack.doctor import config_files
from cli.stack.home import Home
from cli.stack.plan import OKX_REST, OKX_WS, dagster_url, exchange_urls, make_plan
from cli.stack.ports import forget_port, is_free, remembered_port
from cli.stack.postgres import check_version
from cli.stack.secret import secret
from cli.stack.services import Service, dagster_services
from cli.stack.started import as_started, forget, remember
from cli.stack.supervisor_config import config_text
from cli.stack.table import columns, duration
from cli.stack.up import check_speed
from config.settings import PROJECT_ROOT, Settings
from core.errors import BadInput
from pipelines.exchanges.okx.keys import VARIABLES
from tests.stack import home


def test_port_is_the_same_every_time(tmp_path):
    """A server keeps its port over restarts, and two servers never share one."""
    first = remembered_port(tmp_path, "redis")
    assert remembered_port(tmp_path, "redis") == first
    assert remembered_port(tmp_path, "sim") != first
    forget_port(tmp_path, "sim")
    assert remembered_port(tmp_path, "redis") == first


def test_torn_port_file_is_replaced(tmp_path):
    """A half-written ports.json costs the remembered ports, not the start."""
    (tmp_path / "ports.json").write_text('{"redis": 63')
    assert is_free(remembered_port(tmp_path, "redis"))


def test_taken_port_names_port_variable_and_process():
    """The line says which port, which variable, and who has it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(BadInput, match=rf"TCP_DASHBOARD_PORT: port {port} is in use by .*process \d+"):
            check_port("TCP_DASHBOARD_PORT", "127.0.0.1", port)


_ANOTHER_ACCOUNT = """
import os, sys
from pathlib import Path
from cli.stack.backup import check_target
from core.errors import BadInput
if os.geteuid() == 0:
    os.setuid(54_321)
for name in sys.argv[1:]:
    try:
        check_target(Path(name))
    except BadInput as error:
        print(error)
"""


def test_backup_into_a_folder_that_may_not_be_written_is_refused():
    """Before anything is dumped, with the folder and what to do; so is one that may not even be entered."""
    with tempfile.TemporaryDirectory() as name:
        closed = Path(name) / "closed"
        closed.mkdir(mode=0)
        Path(name).chmod(0o555)
        files = [f"{name}/a.dump", f"{closed}/a.dump", f"{closed}/below/a.dump", "/dev/null/a.dump"]
        asked = subprocess.run(
            [sys.executable, "-c", _ANOTHER_ACCOUNT, *files], cwd=PROJECT_ROOT, capture_output=True, text=True
        )
        Path(name).chmod(0o755)
        closed.chmod(0o755)
    assert asked.stdout.splitlines() == [
        f"{files[0]}: this account may not write into {name}: choose a folder that it may",
        f"{files[1]}: this account may not write into {closed}: choose a folder that it may",
        f"{files[2]}: the folder {closed}/below does not exist",
        f"{files[3]}: the folder /dev/null does not exist",
    ], asked.stderr


def test_commands_about_what_runs_make_no_database(tmp_path):
    """Typed without the TCP_HOME of the stack that is meant they are one line, and no server is started."""
    with home(tmp_path / "home") as tcp:
        for command in (("kill-switch", "on"), ("risk", "show"), ("bots", "stop", "mine"), ("db", "backup")):
            asked = tcp.run(*command)
            assert (asked.returncode, asked.stdout, asked.stderr.count("\n")) == (2, "", 1), command
            assert f"TCP_HOME: {tcp.home} has no database: set TCP_HOME, or TCP_DATABASE_URL" in asked.stderr
        assert tcp.living() == [] and not (tcp.home / "postgres").exists()


def test_secret_is_private_and_lasting(tmp_path):
    """A password is made once, in a file only its owner reads."""
    word = secret(tmp_path, "postgres")
    assert secret(tmp_path, "postgres") == word
    assert len(word) >= 24
    assert (tmp_path / "secrets/postgres").stat().st_mode & 0o777 == 0o600


def test_supervisor_config_survives_odd_paths(tmp_path):
    """Blanks and percent signs in a path reach the program as they are."""
    home = Home(tmp_path / "50% of it")
    service = Service("redis", ("/opt/my tools/redis-server", "a%b"), nice=5, user="nobody")
    parser = configparser.RawConfigParser()
    parser.read_string(config_text(home, [service], 4711, "p%w", "me"))
    program = parser["program:redis"]
    command = shlex.split(program["command"].replace("%%", "%"))
    assert command[-5:] == ["nice", "-n", "5", *service.command]
    assert program["user"] == "nobody"
    assert program["autostart"] == "false"
    assert program["autorestart"] == "true"
    assert parser["inet_http_server"]["port"] == "127.0.0.1:4711"
    assert parser["inet_http_server"]["password"] == "p%%w"


def test_only_the_daemon_sees_the_keys_of_an_account(tmp_path, unused_port):
    """Every other service begins by taking them out of its environment."""
    services = make_plan(Settings(home=tmp_path, _env_file=None)).services()
    parser = configparser.RawConfigParser()
    parser.read_string(config_text(Home(tmp_path), services, unused_port, "password", "me"))
    show = [sys.executable, "-c", "import os; print([n for n in os.environ if n.startswith('TCP_OKX_API')])"]
    seen = {}
    for service in services:
        command = shlex.split(parser[f"program:{service.name}"]["command"])
        before = command[: command.index(service.command[0])]
        environment = {"PATH": os.environ["PATH"], **dict.fromkeys(VARIABLES, "secret")}
        found = subprocess.run([*before, *show], env=environment, capture_output=True, text=True, check=True)
        seen[service.name] = found.stdout.strip()
    assert seen.pop("live") == str(list(VARIABLES))
    assert set(seen) >= {"postgres", "redis", "dashboard", "dagster-daemon"} and set(seen.values()) == {"[]"}


def test_dagster_runs_three_processes_on_one_code_server():
    """Code server, webserver and daemon; code is loaded once."""
    names = [service.name for service in dagster_services(3000, 4000)]
    assert names == ["dagster-code", "dagster-webserver", "dagster-daemon"]


def test_exchange_urls_come_from_settings_or_from_the_simulator(tmp_path):
    """OKX's own for okx, the given pair, else a remembered loopback port."""
    home = Home(tmp_path)
    assert exchange_urls(Settings(exchange="okx"), home) == (OKX_REST, OKX_WS)
    given = Settings(okx_rest_url="http://h:1", okx_ws_url="ws://h:1/ws/v5")
    assert exchange_urls(given, home) == ("http://h:1", "ws://h:1/ws/v5")
    rest, ws = exchange_urls(Settings(okx_rest_url=None, okx_ws_url=None), home)
    assert ws == rest.replace("http", "ws") + "/ws/v5"


def test_half_an_exchange_is_refused(tmp_path):
    """One URL of the simulated exchange without the other is named."""
    with pytest.raises(BadInput, match="TCP_OKX_WS_URL"):
        exchange_urls(Settings(okx_rest_url="http://h:1", okx_ws_url=None), Home(tmp_path))


def test_plan_resolves_every_url_and_runs_only_what_is_ours(tmp_path):
    """Given servers are used, the rest is embedded, and children get all of it."""
    given = Settings(
        home=tmp_path,
        database_url="postgresql+psycopg://me:pw@db:5555/mine",
        redis_url=None,
        okx_rest_url=None,
        okx_ws_url=None,
        lake_url="some/lake",
    )
    plan = make_plan(given)
    assert plan.embedded == ("redis", "sim")
    environment = plan.environment()
    assert environment["TCP_DATABASE_URL"] == given.database_url
    assert environment["TCP_REDIS_URL"].startswith("redis://:")
    assert environment["TCP_DAGSTER_DATABASE_URL"] == "postgresql+psycopg2://me:pw@db:5555/dagster"
    assert environment["TCP_LAKE_URL"].endswith("/some/lake")
    assert environment["TCP_LAKE_URL"].startswith("/")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("/mine?host=/run/postgresql&port=5433", {"host": "/run/postgresql", "port": "5433"}),
        ("db.example:5555/mine?sslmode=verify-full", {"port": 5555, "sslmode": "verify-full"}),
    ],
)
def test_dagster_goes_where_the_data_is(where, expected):
    """To the same socket, with the same demand for a certificate, whatever is in the password."""
    url = make_url(dagster_url(f"postgresql+psycopg://me:p%40%2Fs%25@{where}"))
    arguments = url.get_dialect()().create_connect_args(url)[1]
    assert url.drivername == "postgresql+psycopg2"
    assert {"user": "me", "password": "p@/s%", "dbname": "dagster"}.items() <= arguments.items()
    assert expected.items() <= arguments.items()


def test_server_without_a_log_writes_where_its_starter_does(capfd):
    """What runs `tcp dagster` bounds its output: there is no file that grows."""
    process.start((sys.executable, "-c", "print('served')"), None).wait(30)
    assert capfd.readouterr().out == "served\n"


def test_data_of_another_version_is_refused_with_the_remedy(tmp_path):
    """The line names both versions and what to do; nothing is touched."""
    (tmp_path / "PG_VERSION").write_text("15\n")
    with pytest.raises(BadInput, match=r"TCP_HOME: .*PostgreSQL 15.*runs 18.*TCP_HOME"):
        check_version(tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["PG_VERSION"]


def test_home_that_cannot_be_made_is_named(tmp_path):
    """A file where the folder should be is one clear line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="TCP_HOME"):
        Home(tmp_path / "file").make()


def test_second_up_on_one_home_is_refused(tmp_path):
    """Two `tcp up` on one folder would fight over it."""
    home = Home(tmp_path)
    home.make()
    with (
        home.in_the_foreground(),
        pytest.raises(BadInput, match="already runs"),
        Home(tmp_path).in_the_foreground(),
    ):
        pass
    with home.in_the_foreground():
        pass


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "1e9"])
def test_impossible_speed_is_refused(speed):
    """A speed is a number above 0, or max."""
    with pytest.raises(BadInput, match="--speed"):
        check_speed(speed)


@pytest.mark.parametrize("speed", ["max", "60", "0.5"])
def test_possible_speed_is_taken(speed):
    """Numbers above 0 and max."""
    assert check_speed(speed) is None


def test_sim_start_is_utc():
    """A time without an offset is UTC."""
    assert milliseconds("2026-11-20T09:00:00") == milliseconds("2026-11-20T10:00:00+01:00") == 1795165200000
    with pytest.raises(BadInput, match="--start"):
        milliseconds("yesterday")
    with pytest.raises(BadInput, match="--end"):
        milliseconds("tomorrow", "--end")


def test_faults_are_a_json_object():
    """Anything else is named."""
    assert fault_object('{"gap": 0.5}') == {"gap": 0.5}
    for text in ("[1]", "{", "gap"):
        with pytest.raises(BadInput, match="--faults"):
            fault_object(text)


def test_doctor_names_file_and_field(tmp_path):
    """A broken bot file and a bot without its strategy file are both told."""
    for kind in ("bots", "strategies"):
        (tmp_path / kind).mkdir()
    (tmp_path / "bots/a.json").write_text('{"bot_id": "a", "symbol": "BTC-USDT"')
    (tmp_path / "bots/b.json").write_text(
        '{"bot_id": "b", "strategy_file": "none.json", "symbol": "BTC-USDT", "timeframe": "1m", '
        '"virtual_balance": 1}'
    )
    findings = {finding.name: finding for finding in config_files(tmp_path)}
    assert findings["config/strategies"].ok
    message = findings["config/bots"].message
    assert not findings["config/bots"].ok
    assert "a.json: line 1" in message
    assert "none.json does not exist" in message


@pytest.mark.parametrize(
    ("text", "ok", "said"),
    [
        (None, True, "none: no limits over all bots"),
        ('{"max_exposure": 15000, "max_drawdown": 0.1}', True, "max_exposure 15000, max_drawdown 0.1"),
        ('{"max_exposure": -1}', False, "max_exposure: Input should be greater than 0"),
        ('{"max_exposur": 1}', False, "max_exposur: Extra inputs are not permitted"),
    ],
)
def test_doctor_reads_the_limits_over_all_bots(tmp_path, text, ok, said):
    """What is in the file, or which field of it is wrong; the daemon would keep the limits it has."""
    if text is not None:
        (tmp_path / "risk.json").write_text(text)
    findings = {finding.name: finding for finding in config_files(tmp_path)}
    assert findings["config/risk.json"].ok is ok and findings["config/risk.json"].message.endswith(said)


def test_addresses_show_no_password():
    """The table can be shared."""
    assert without_password("postgresql+psycopg://tcp:pw@h:1/tcp") == "postgresql://tcp@h:1/tcp"
    assert without_password("redis://:pw@h:2/0") == "redis://h:2/0"
    assert without_password("http://h:3") == "http://h:3"


def test_columns_are_aligned():
    """Each column is as wide as its widest cell; no trailing blanks."""
    assert columns([("a", "bbb", ""), ("cc", "d", "e")]) == "a   bbb\ncc  d    e"
    assert columns([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_durations_read_well(seconds, text):
    """Seconds, minutes, hours, days."""
    assert duration(seconds) == text


def test_status_elsewhere_knows_the_ports_of_the_start(tmp_path):
    """A shell without the variables sees the ports of the running stack, and its own once that is stopped."""
    home = Home(tmp_path)
    remember(
        home, Settings(dashboard_port=8123, dagster_port=3123, database_url="postgresql+psycopg://u:p@h/d")
    )
    assert "u:p" not in home.started.read_text()
    seen = as_started(home, Settings())
    assert (seen.dashboard_port, seen.dagster_port) == (8123, 3123)
    forget(home)
    assert as_started(home, Settings(dashboard_port=8200)).dashboard_port == 8200
