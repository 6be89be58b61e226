#!/bin/bash
# sixfold-f: written by sixfold submit, run by its queue on this machine.
cd /home/me/project || exit 2
for shard in $(seq 0 3); do
    /opt/sixfold/bin/sixfold predict runs/f --data 'many images.csv' --output r.jsonl --merge --shard "$shard/4" || exit $?
done
