"""The command line as people meet it first, and in folders that are not ours."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import linemon
from linemon.cli.main import names
from tests.running import Running, command, eventually

ROOT = Path(__file__).parent.parent
FOREIGN = "print('not ours')\nraise SystemExit(99)\n"


def linemon_in(folder: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `linemon` of the checkout `root` in a folder."""
    code = f"import sys; sys.path[0] = {str(root)!r}; from linemon.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.slow
def test_the_version_and_the_list_of_commands(tmp_path: Path) -> None:
    """`--version` is the package's; `--help` names each command, and without one that list comes as an error."""
    assert linemon_in(tmp_path, "--version").stdout == f"linemon {linemon.__version__}\n"
    helped, alone = linemon_in(tmp_path, "--help"), linemon_in(tmp_path)
    assert (helped.returncode, alone.returncode) == (0, 2)
    assert helped.stdout == alone.stderr
    for name in names():
        assert re.search(rf"^  {name} +\S", helped.stdout, re.M), name


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_each_command_has_help_with_an_example(name: str, tmp_path: Path) -> None:
    out = linemon_in(tmp_path, name, "--help")
    assert out.returncode == 0
    assert f"linemon {name}" in out.stdout
    assert re.search(r"^examples?:", out.stdout, re.M)


def test_an_unknown_command_is_told_the_nearest(tmp_path: Path) -> None:
    out = linemon_in(tmp_path, "sorces")
    assert (out.returncode, "did you mean 'sources'?" in out.stderr) == (2, True)


def test_adding_a_command_is_adding_one_file(tmp_path: Path) -> None:
    """Nothing else is edited: it is listed, has its help, and runs."""
    shutil.copytree(ROOT / "linemon", tmp_path / "tree" / "linemon")
    (tmp_path / "tree" / "linemon" / "cli" / "count.py").write_text(
        'HELP = "count the sources"\nEXAMPLE = "linemon count --twice"\n\n\n'
        'def options(parser):\n    parser.add_argument("--twice", action="store_true")\n\n\n'
        'def run(config, options):\n    print(config.store.max_sources * (1 + options.twice))\n    return 0\n'
    )  # fmt: skip
    tree = tmp_path / "tree"
    assert "  count      count the sources" in linemon_in(tmp_path, "--help", root=tree).stdout
    assert "example: linemon count --twice" in linemon_in(tmp_path, "count", "--help", root=tree).stdout
    assert linemon_in(tmp_path, "count", "--twice", root=tree).stdout == "20000\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody's with modules of our names."""
    folder = tmp_path / "foreign"
    (folder / "bokeh_app").mkdir(parents=True)
    for name in ("agent.py", "bokeh_app/__init__.py", "bokeh_app/main.py"):
        (folder / name).write_text(FOREIGN)
    return folder


@pytest.mark.slow
def test_a_foreign_agent_is_not_ours(foreign: Path) -> None:
    """`import linemon` works beside it, and `linemon agent` and what `linemon up` starts run ours."""
    out = subprocess.run(
        [sys.executable, "-c", "import linemon; print(linemon.Sender, linemon.Store)"],
        cwd=foreign, capture_output=True, text=True,
    )  # fmt: skip
    assert (out.returncode, out.stderr) == (0, "")
    for environment in ({}, {"PYTHONPATH": str(foreign)}):
        helped = subprocess.run(
            command("agent", "--help"), cwd=foreign, capture_output=True, text=True, env=environment, timeout=60
        )
        assert helped.stdout.startswith("usage: linemon agent"), helped.stderr


@pytest.mark.slow
def test_a_foreign_page_is_not_ours(foreign: Path) -> None:
    """`linemon dashboard` serves our page, whatever lies in the folder that it was started in."""
    config = foreign / "linemon.toml"
    config.write_text(f'[store]\npath = "{foreign}/store"\n[dashboard]\nlisten = "127.0.0.1:0"\n')
    log = foreign / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command("dashboard", "--config", str(config)), cwd=foreign, stderr=file, stdout=file)
    try:
        said = eventually(lambda: re.search(r"the page is at (http\S+)", log.read_text()), "the page's address", 60)
        page = subprocess.run(["curl", "-s", said[1]], capture_output=True, text=True, timeout=30).stdout
        assert "<title>linemon" in page
        assert "not ours" not in log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_what_only_reads_needs_no_secret(collector: Running) -> None:
    """The token of linemon.toml is for those who write; `linemon check` still says that it is missing."""
    collector.say("m 1\n")
    other = collector.folder / "other.toml"
    other.write_text(collector.config.read_text().replace("[tcp]", '[tcp]\ntoken = "${LINEMON_NO_SUCH}"'))
    for asked in (["sources"], ["export", "m"], ["top", "--once"]):
        out = subprocess.run(command(*asked, "--config", str(other)), capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        assert "m" in out.stdout
    out = subprocess.run(command("check", "--config", str(other)), capture_output=True, text=True)
    assert out.returncode == 2
    assert "[tcp] token: the environment has no variable LINEMON_NO_SUCH" in out.stderr


@pytest.mark.slow
def test_the_supervisor_sleeps_until_the_collector_is_ready(tmp_path: Path) -> None:
    """However long that takes, and however often it is started again until then; then the others start, once."""
    (tmp_path / "linemon").mkdir()
    (tmp_path / "linemon" / "__init__.py").touch()
    (tmp_path / "linemon" / "__main__.py").write_text(
        "import os, pathlib, sys, time\n"
        "name, here = sys.argv[1], pathlib.Path.cwd()\n"
        "(here / f'{name}.{os.getpid()}').touch()\n"
        "while not (here / 'ready').exists(): time.sleep(0.01)\n"
        "if name == 'collect': os.write(int(os.environ['LINEMON_READY']), b'.')\n"
        "assert name == 'collect' or 'LINEMON_READY' not in os.environ\n"
        "time.sleep(60)\n"
    )
    supervisor = [sys.executable, "-I", "-S", str(ROOT / "linemon" / "cli" / "_supervisor.py"), "collect,agent,work"]
    process = subprocess.Popen(supervisor, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})

    def started(name: str) -> int:
        return len(list(tmp_path.glob(f"{name}.*")))

    try:
        eventually(lambda: started("collect"), "the collector")
        me = psutil.Process(process.pid)
        before = me.num_ctx_switches().voluntary
        me.children()[0].kill()
        eventually(lambda: started("collect") == 2, "the collector again")
        assert me.num_ctx_switches().voluntary - before < 10
        assert (started("agent"), started("work")) == (0, 0)
        (tmp_path / "ready").touch()
        eventually(lambda: started("agent") == started("work") == 1, "the others")
        me.children()[0].kill()
        eventually(lambda: started("collect") == 3, "the collector once more")
        assert len(me.children()) == 3
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_the_supervisor_is_small(tmp_path: Path) -> None:
    """It looks at one number, and is there for months: no numpy, at most 14 MB."""
    config = tmp_path / "linemon.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/store"\n[tcp]\nlisten = "127.0.0.1:0"\n[http]\nlisten = "127.0.0.1:0"\n'
        '[[tap]]\nlisten = "127.0.0.1:0"\n[dashboard]\nlisten = "127.0.0.1:0"\n'
    )
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(command("up", "--config", str(config)), stderr=log, stdout=log)
    try:
        eventually(lambda: len(psutil.Process(process.pid).children()) == 4, "four processes", 60)
        maps = psutil.Process(process.pid).memory_maps()
        assert not [each.path for each in maps if "numpy" in each.path]
        assert psutil.Process(process.pid).memory_info().rss < (14e6 if sys.version_info < (3, 14) else 15e6)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        log.close()
