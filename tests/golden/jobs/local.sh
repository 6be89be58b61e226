#!/bin/bash
# sixfold-f: written by sixfold submit, run by its queue on this machine.
cd /home/me/project || exit 2
export OMP_NUM_THREADS=4
exec /opt/sixfold/bin/sixfold launch --workers 2 run image-classification --config /home/me/project/runs/f.job/run.yaml --run-dir runs/f
