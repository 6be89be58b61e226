"""The same command as a job elsewhere: on this machine's queue, Slurm, Kubernetes, Airflow. Imports no TensorFlow.

`settings` is what a person asks for, `spec` the job that comes of it. A module for each target (`slurm`, `kubernetes`,
`airflow`, `local`) turns that into text and asks the scheduler; `queue` is the one of this machine. `ledger` remembers
what was submitted, `targets` lists them all.
"""
