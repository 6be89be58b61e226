#!/bin/bash
# A Slurm cluster of one node on this machine, for tests: no systemd, no cgroups, no accounting.
#
#   apt-get install --no-install-recommends slurm-wlm munge     Debian 12 and later, Ubuntu
#   tests/slurm/one_node.sh start                               as root; writes /etc/slurm/slurm.conf where there is none of others
#   tests/slurm/one_node.sh stop
#
# Two partitions: `low`, the default, whose jobs are requeued when one of `high` wants the node; they have 20 s to save.
set -eu
mark="# written by tests/slurm/one_node.sh"
config=/etc/slurm/slurm.conf

stop() {
    for daemon in slurmctld slurmd; do
        [ -s "/run/$daemon.pid" ] && kill "$(cat "/run/$daemon.pid")" 2>/dev/null || true
    done
}

start() {
    if [ -e "$config" ] && ! grep -q "$mark" "$config"; then
        echo "$config is not this script's: this machine has a Slurm of its own." >&2
        exit 2
    fi
    stop
    mkdir -p /run/munge /var/log/munge /var/lib/munge /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /etc/slurm
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
    chown -R munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
    chmod 711 /run/munge /var/lib/munge
    chmod 755 /run/munge
    chmod 700 /etc/munge /var/log/munge
    chmod 400 /etc/munge/munge.key
    munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged --force
    write_config
    slurmctld
    sleep 1
    slurmd
    for _ in $(seq 30); do
        [ "$(sinfo --noheader --format %t --partition low 2>/dev/null)" = idle ] && return
        sleep 1
    done
    sinfo >&2
    echo "the node is not idle after 30 s: see /var/log/slurm." >&2
    exit 1
}

write_config() {
    local name cores memory
    name=$(hostname -s)
    cores=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat >"$config" <<CONF
$mark
ClusterName=local
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=5
JobRequeue=1
MinJobAge=600
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PreemptExemptTime=00:00:00
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=low Nodes=$name Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=$name Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*)
    echo "usage: $0 start|stop" >&2
    exit 2
    ;;
esac
