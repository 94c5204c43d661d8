"""linemon.toml: the file is the reference, and what is wrong is named."""

from __future__ import annotations

import re
import tomllib
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from linemon.cli import check
from linemon.cli.agent import token_for
from linemon.config import Address, Config, PanelConfig, TapConfig, load
from linemon.errors import ConfigError
from linemon.lines import bulk
from linemon.parts._far import schemes
from linemon.parts.alarms import notifiers
from linemon.parts.alarms.notifier import NotifyConfig
from linemon.parts.forward.target import ForwardConfig
from linemon.parts.subscribe.origin import SubscribeConfig
from linemon.parts.subscribe.presets import PRESETS
from linemon.sections import AlarmConfig, MapConfig, QuietConfig, Span, TaskConfig, TierConfig, TokenConfig

REFERENCE = Path(__file__).parent.parent / "linemon.toml"


def test_the_reference_holds_every_setting_with_its_default() -> None:
    """Each field is in the file, each key of the file is a field, the values are the defaults."""
    assert load(REFERENCE) == Config(file=REFERENCE)
    written = tomllib.loads(REFERENCE.read_text())
    lists = "tap", "token", "task", "notify", "forward", "subscribe", "alarm", "quiet"
    sections: dict[str, Any] = {f.name: f.default for f in fields(Config) if not f.metadata and f.name not in lists}
    expected = {name: {f.name for f in fields(section)} for name, section in sections.items()}
    expected["tap"] = {f.name for f in fields(TapConfig)}
    for section, key in (("dashboard", "panel"), ("history", "tier")):
        expected[section] -= {key}  # none by default: the file shows how one would be written
    examples = (
        ("dashboard.panel", PanelConfig),
        ("history.tier", TierConfig),
        ("alarm", AlarmConfig),
        ("quiet", QuietConfig),
        ("task", TaskConfig),
    )
    for head, cls in examples:
        _, _, example = REFERENCE.read_text().partition(f"# [[{head}]]\n")
        shown = re.findall(r"^# (\w+) = ", example.partition("\n\n")[0], re.M)
        assert set(shown) == {f.name.rstrip("_") for f in fields(cls)}
    assert {name: set(table[0] if name == "tap" else table) for name, table in written.items()} == expected


@pytest.mark.parametrize(
    ("head", "common", "kinds"),
    [
        ("notify", NotifyConfig, notifiers.kinds()),
        ("forward", ForwardConfig, schemes("linemon.parts.forward.targets")),
        ("subscribe", SubscribeConfig, schemes("linemon.parts.subscribe.origins")),
    ],
    ids=["notify", "forward", "subscribe"],
)
def test_the_examples_of_kinds(head: str, common: type, kinds: dict[str, ModuleType]) -> None:
    """Each kind's keys stand there as a comment, with their defaults; what all have stands first."""
    _, _, text = REFERENCE.read_text().partition(f"# [[{head}]]\n")
    parts = [
        dict(re.findall(r"^# (\w+) = (.*?)(?: +#.*)?$", part, re.M)) for part in text.partition("\n\n")[0].split("#\n")
    ]
    assert set(parts[0]) == {f.name.rstrip("_") for f in fields(common)}
    if head == "subscribe":
        assert set(parts.pop()) == {f.name for f in fields(MapConfig)}
        assert PRESETS.keys() == set(re.findall(r"\w+", text.partition("# preset = []")[2].partition("\n")[0])) - {"of"}
    by_keys = {frozenset(f.name.rstrip("_") for f in fields(kind.Settings)): kind for kind in kinds.values()}
    assert {frozenset(part) for part in parts[1:]} == set(by_keys)
    for part, cls in [(parts[0], common), *((part, by_keys[frozenset(part)].Settings) for part in parts[1:])]:
        for f in fields(cls):
            shown = tomllib.loads(f"x = {part[f.name.rstrip('_')]}")["x"]
            shown = tuple(shown) if isinstance(shown, list) else shown
            if shown == "0s" or isinstance(f.default, Span):
                shown = None if shown == "0s" else Span.parse(shown)
            assert shown == f.default or f.name in EXAMPLES, f.name


EXAMPLES = {
    "name",
    "kind",
    "from_",
    "password",
    "to",
    "token",
    "chats",
    "url",
    "urls",
    "argv",
}  # needed, or secret: not the default is shown


def test_the_example_of_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the reference as a comment is right too."""
    lines = REFERENCE.read_text().splitlines()
    at = lines.index("# [[token]]")
    keys = [line.removeprefix("# ") for line in lines[at + 1 : at + 6]]
    assert {line.split(" = ")[0] for line in keys} == {f.name for f in fields(TokenConfig)}
    monkeypatch.setenv("ROOM_TOKEN", "s3cret")
    file = tmp_path / "linemon.toml"
    file.write_text("[[token]]\n" + keys[0] + "\n" + keys[2])
    assert load(file).token == (TokenConfig("s3cret", "", ("room*",)),)


def test_each_setting_has_a_comment() -> None:
    for line in REFERENCE.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert re.search(r"# \S", line), line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[tpc]\n",
            r"unknown section \[tpc\]; expected one of: agent, alarm, alarms, dashboard, devices, .*",
        ),
        ("[tcp]\nlissten = 1\n", r"\[tcp\] lissten: unknown setting; expected one of: listen, token"),
        ("[tcp]\nmax_line = 0\n", r"\[tcp\] max_line = 0: expected a whole number above 0"),
        ("[tcp]\nmax_line = 1.5\n", r"\[tcp\] max_line = 1.5: expected a whole number"),
        ("[tcp]\nmax_line = true\n", r"\[tcp\] max_line = True: expected a whole number"),
        ("[tcp]\nidle_timeout = inf\n", r"\[tcp\] idle_timeout = inf: expected a number above 0"),
        ("[tcp]\nlisten = 4000\n", r"\[tcp\] listen = 4000: expected an address such as"),
        ('[tcp]\nlisten = "4000"\n', r"\[tcp\] listen = '4000': expected an address"),
        ('[tcp]\nlisten = "h:70000"\n', r"expected an address"),
        ('[tcp]\nallow_open = "yes"\n', r"expected true or false"),
        ("[tap]\n", r"must be written \[\[tap\]\]"),
        ("[[tap]]\ncolumns = [1]\n", r"\[\[tap\]\] columns = \[1\]: expected a list of strings"),
        ('[history]\nevery = "10"\n', r"\[history\] every = '10': expected a span such as \"10s\""),
        ("[history]\nevery = 0\n", r"\[history\] every = 0: expected a span"),
        ('[[history.tier]]\nstep = "oops"\n', r"\[\[history.tier\]\] step = 'oops': expected a span"),
        ("[[history.tier]]\nstop = 1\n", r"\[\[history.tier\]\] stop: unknown setting"),
        ("[[history.tier]]\nstep = 0.5\n", r"step = 0.5: expected whole seconds"),
        ('[[history.tier]]\nstep = "1h"\nkeep = "1h"\n', r"keep = '1h': expected two of 1h or more"),
        (
            '[[history.tier]]\nstep = "1m"\n[[history.tier]]\nstep = "60s"\n',
            r"step = '1m' after '1m': expected the finest first",
        ),
        ('[[history.tier]]\nstep = "1m"\n[[history.tier]]\nstep = "90s"\n', r"step = '90s' after '1m'"),
        ('[[history.tier]]\nstep = "1m"\n[[history.tier]]\nstep = "1h"\n', r"2 to 25 times the one before"),
        ("[history]\nshare = 2\n", r"share = 2: expected a number above 0, at most 1"),
        ("store = 1\n", r"expected a section \[store\]"),
        (
            '[tcp]\nlisten = "0.0.0.0:4000"\n',
            r"listen = '0.0.0.0:4000' lets other machines in .*set \[tcp\] token",
        ),
        (
            '[http]\nlisten = "0.0.0.0:8080"\n',
            r"\[http\] .*set \[tcp\] token, or .* in \[http\]",
        ),
        ('[[tap]]\nlisten = "[::]:1027"\n', r"\[\[tap\]\] listen .*allow_open = true"),
        ('[tcp]\ntoken = "${LINEMON_NO_SUCH}"\n', r"no variable LINEMON_NO_SUCH"),
        ("[[token]]\n", r"\[\[token\]\] needs either a secret or a file"),
        ('[[token]]\nsecret = "a"\nfile = "b"\n', r"needs either a secret or a file"),
        ("[token]\n", r"must be written \[\[token\]\]"),
        ("[tcp]\ntls = true\n", r"\[tcp\] tls = true needs \[tls\] cert"),
        ('[tcp]\nallow = ["10.0.0.1/8"]\n', r"\[tcp\] allow = .*expected a list of networks such as"),
        ("[dashboard]\npanel = 1\n", r"\[dashboard\] panel = 1: expected sections \[\[dashboard.panel\]\]"),
        (
            "[[dashboard.panel]]\ncolums = []\n",
            r"\[\[dashboard.panel\]\] colums: unknown setting; expected one of: title",
        ),
        (
            '[[dashboard.panel]]\ntitle = "Net"\n',
            r"\[\[dashboard.panel\]\] 'Net': columns = \[\]: expected a list of patterns",
        ),
        (
            '[[dashboard.panel]]\ncolumns = ["a"]\nkind = "pie"\n',
            r"kind = 'pie': expected one of: lines, step, stacked, mirrored",
        ),
        ('[[dashboard.panel]]\ncolumns = ["a"]\nlimits = [1, 0]\n', r"limits = .*expected \[least, greatest\]"),
        ('[[dashboard.panel]]\ncolumns = ["a"]\nwarn = "5"\n', r"warn = '5': expected a number"),
        ('[[dashboard.panel]]\ncolumns = ["a"]\ncrit = nan\n', r"crit = nan: expected a number"),
        ('[[dashboard.panel]]\ncolumns = ["a"]\nlimits = [1, inf]\n', r"limits = .*expected a list of numbers"),
        ('[alarms]\nheartbeat = "s3cret"\n', r"\[alarms\] heartbeat: expected an address such as"),
        ('[alarms]\npage = "http://[::/"\n', r"\[alarms\] page: expected an address such as"),
        ('[devices]\nname = "{model}"\n', r"\[devices\] name = '{model}': expected a name such as"),
        ('[devices]\nname = "meter"\n', r"\[devices\] name = 'meter': expected a name such as"),
        ("[devices]\nrequired = 1\n", r"\[devices\] required = 1: expected true or false, or a list of strings"),
        ("[notify]\n", r"must be written \[\[notify\]\]"),
        ("[tcp\n", r"linemon.toml: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    """The error names the file, the key, the value and what was expected."""
    file = tmp_path / "linemon.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load(file)
    assert str(caught.value).startswith(str(file))


def test_what_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Secrets come from the environment, several taps, IPv6; `check` says what it means and warns of what is open."""
    monkeypatch.setenv("LINEMON_SECRET", "s3cret")
    file = tmp_path / "linemon.toml"
    file.write_text(
        '[tcp]\nlisten = "0.0.0.0:4000"\ntoken = "${LINEMON_SECRET}"\nidle_timeout = 5\n'
        '[[tap]]\nlisten = "[::1]:1027"\n[[tap]]\nlisten = "[::]:1028"\nallow_open = true\n'
        '[http]\nlisten = "0.0.0.0:8080"\n[agent]\nspool = ""\n'
    )
    config = load(file)
    assert config.tcp.token == "s3cret"
    assert config.tcp.idle_timeout == 5.0
    assert [tap.listen for tap in config.tap] == [Address("::1", 1027), Address("::", 1028)]
    assert check.run(config, Namespace()) == 0
    out = capsys.readouterr()
    assert "asks for a token, open to other machines" in out.out
    assert f"reader:    lines are read in {'C' if bulk.reader else 'Python'}" in out.out
    assert "1m for 2d" in out.out
    assert "5,552,640 bytes a source of 60 columns" in out.out
    assert "s3cret" not in out.out + out.err
    assert "[[tap]] listens on [::]:1028 and asks nobody" in out.err


def test_whom_alarms_are_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` names each notifier by kind, name and host, without its secrets, and warns of what others may read."""
    file = tmp_path / "linemon.toml"
    file.write_text(
        '[[notify]]\nname = "ops"\nkind = "mail"\nto = ["a@b"]\nhost = "mail.example:587"\npassword = "s3cret"\n'
        '[[notify]]\nname = "phone"\nkind = "ntfy"\nurl = "http://ntfy.example/s3cret"\nlevel = "critical"\n'
    )
    assert check.run(load(file), Namespace()) == 0
    out = capsys.readouterr()
    assert (
        "notify:    mail ops mail.example, warnings too\n           ntfy phone ntfy.example, critical alone" in out.out
    )
    assert "warning: [[notify]] 'ops': it sends its password to mail.example without tls or starttls" in out.err
    assert "warning: [[notify]] 'phone': it sends to ntfy.example without https" in out.err
    assert "s3cret" not in out.out + out.err
    assert check.run(Config(), Namespace()) == 0
    assert "notify:    nobody: alarms are shown only" in capsys.readouterr().out


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, then the user's config folder, then the defaults; a file that is asked for must be there."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    (home / "linemon").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    assert load() == Config()
    (home / "linemon" / "linemon.toml").write_text("[store]\npoints = 7\n")
    assert load().store.points == 7
    (here / "linemon.toml").write_text("[store]\npoints = 8\n")
    assert load().store.points == 8
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_a_user_without_a_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As newer systemds and containers make them up: only a setting that needs a home is an error, which names it."""

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "linemon.toml"
    hint = "there is no such home directory; set a path that begins with /"

    def checked(settings: str) -> int:
        file.write_text(settings)
        code = check.run(load(), Namespace())
        assert list(tmp_path.iterdir()) == [file]
        return code

    for settings in (f'[work]\nstate = "{tmp_path}"\n', f'[store]\npath = "{tmp_path}"\n'):
        assert checked(settings) == 0
    with pytest.raises(ConfigError, match=re.escape(f"[work] state = '~/.local/state/linemon': {hint}")):
        checked("")
    file.unlink()
    with pytest.raises(ConfigError, match=re.escape("[work] state")):
        check.run(load(), Namespace())


@pytest.mark.parametrize(
    ("section", "key"),
    [("store", "path"), ("unix", "path"), ("history", "path"), ("devices", "specs"), ("dashboard", "boards")],
)
def test_a_home_that_there_is_not(tmp_path: Path, section: str, key: str) -> None:
    (tmp_path / "linemon.toml").write_text(f'[{section}]\n{key} = "~no-such-user/x"\n')
    with pytest.raises(ConfigError, match=re.escape(f"[{section}] {key} = '~no-such-user/x': there is no such home")):
        check.run(load(tmp_path / "linemon.toml"), Namespace())


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ('[tcp]\ntoken = "all"\n', "all"),
        (
            '[[token]]\nsecret = "rooms"\nsources = ["room*"]\n[[token]]\nsecret = "hosts"\nsources = ["web*"]\n',
            "hosts",
        ),
        ('[[token]]\nsecret = "rooms"\nsources = ["room*"]\n', ""),
        ('[tcp]\ntoken = "all"\n[agent]\nto = "other.example:4000"\n', ""),
        ('[tcp]\ntoken = "all"\n[agent]\nto = "127.0.0.1:4001"\n', ""),
        ('[tcp]\ntoken = "all"\n[agent]\nto = "other.example:4000"\ntoken = "theirs"\n', "theirs"),
        ('[tcp]\ntoken = "all"\n[agent]\ntoken = "mine"\n', "mine"),
    ],
)
def test_the_agent_shows_a_token_to_its_own_collector_only(tmp_path: Path, settings: str, token: str) -> None:
    """One that opens its source; to any other collector just what [agent] token says."""
    file = tmp_path / "linemon.toml"
    name = 'name = "web1"\n'
    file.write_text(settings + name if "[agent]" in settings else f"{settings}[agent]\n{name}")
    assert token_for(load(file)) == token
