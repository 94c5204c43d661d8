#!/bin/sh
# Boots systemd with its own root, processes, network and control group, in which nothing can be changed outside of them.
# What the kernel has but once (sysctls, modules, devices, auditing) is closed twice: /proc and /sys are read-only but for
# processes and the control group, and of this machine's units and generators only the journal is left to be started.
#   unshare --mount --pid --fork --net --uts --ipc --kill-child sh systemd.sh REPOSITORY FOLDER CGROUP
# The root is this machine's with a layer of memory over it; REPOSITORY is /opt/linemon there; FOLDER/linemon.toml and
# FOLDER/linemon.env become /etc/linemon's; the units are those that linemon prints for itself.
set -eu
repository=$1 folder=$2 cgroup=$3
echo 0 > "$cgroup/cgroup.procs"
mount --make-rprivate /
mkdir "$folder/layer"
mount -t tmpfs tmpfs "$folder/layer"
mkdir "$folder/layer/upper" "$folder/layer/work" "$folder/layer/root"
root=$folder/layer/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/layer/upper,workdir=$folder/layer/work" overlay "$root"
ip link set lo up
mkdir -p "$root/opt/linemon" "$root/etc/linemon" "$root/usr/local/bin"
mount --bind "$repository" "$root/opt/linemon"
mount -t proc proc "$root/proc"
for part in sys sysrq-trigger irq bus fs; do
    [ ! -e "$root/proc/$part" ] || mount --bind "$root/proc/$part" "$root/proc/$part"
    [ ! -e "$root/proc/$part" ] || mount -o remount,bind,ro "$root/proc/$part"
done
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# Where Python lies in somebody's home, others must be allowed to read it: the reader's own choice, made here.
home=$(readlink -f "$repository/.venv/bin/python")
while [ "$home" != / ]; do
    home=$(dirname "$home")
    chmod a+rx "$root$home"
done

units=$root/etc/systemd/system
rm -rf "$units" "$root/etc/fstab" "$root"/lib/systemd/system-generators/* "$root"/lib/systemd/system/*.wants
mkdir -p "$units/multi-user.target.wants" "$units/sockets.target.wants"
for socket in systemd-journald systemd-journald-dev-log; do
    ln -s "/lib/systemd/system/$socket.socket" "$units/sockets.target.wants/"
done
cp "$folder/linemon.toml" "$root/etc/linemon/"
cp "$folder/linemon-agent.pyz" "$root/usr/local/bin/"
for name in linemon linemon-agent; do
    install -m 600 "$folder/linemon.env" "$root/etc/linemon/$name.env"
    ln -s "../$name.service" "$units/multi-user.target.wants/"
done
inside() { env -i PATH="$PATH" $(cat "$folder/linemon.env") chroot "$root" /opt/linemon/.venv/bin/python "$@"; }
inside -m linemon up --config /etc/linemon/linemon.toml --print-unit > "$units/linemon.service"
inside /usr/local/bin/linemon-agent.pyz --name "100% of it" --spool /var/lib/linemon-agent --print-unit > "$units/linemon-agent.service"

cd "$root"
mkdir .outside
pivot_root . .outside
umount -l /.outside
cd /
exec unshare --cgroup sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec env -i container=linemon-test PATH="$PATH" \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=journal'
