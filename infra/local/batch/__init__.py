"""AWS Batch on this machine: the API of the service, each job's command run as a real process.

`service.py` puts it together; `faults.py` says what it can be told to do wrong. Not emulated: memory limits, images and
their ENTRYPOINT (a job gives its whole command), multi-node and EKS jobs, instances that several jobs share.
"""
