"""systemd units, hardened: a user of their own, no privileges to gain, a system that they can only read."""

from __future__ import annotations

UNIT = """\
# {description}
# systemctl enable --now {name} starts it; journalctl -u {name} shows what it says.
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={command}
# LINEMON_TOKEN=... belongs in this file, readable by root only: a unit can be read by everybody.
EnvironmentFile=-/etc/linemon/{name}.env
Restart=always
RestartSec=5
TimeoutStopSec=20
{more}
DynamicUser=yes
StateDirectory={name}
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# Of the clock it may ask how right it is (not so under ProtectClock=); without a capability it cannot set it.
SystemCallFilter=adjtimex clock_adjtime clock_adjtime64
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit(name: str, description: str, command: list[str], more: str) -> str:
    """The text of a unit `name`.service."""
    return UNIT.format(name=name, description=description, command=" ".join(map(_quoted, command)), more=more)


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not set(word) & set(" \t\"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
