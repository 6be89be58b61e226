"""The same command as a job elsewhere: on this machine's queue, Slurm, Kubernetes, Airflow. Imports no TensorFlow.

`settings` is what a person asks for, `spec` the job that comes of it; a module a target turns that into text (`slurm`,
`kubernetes`, `airflow`, `local`) and asks the scheduler; `queue` is the one of this machine. `ledger` remembers what was
submitted, `targets` lists them all.
"""
