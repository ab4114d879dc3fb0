"""Snakemake's Kubernetes executor, for a volume that the submitting process mounts too.

The plugin it is made from assumes that no file is shared: it copies sources and results through an
object store and installs packages in every pod. Runs that checkpoint into one results folder need
that folder itself, so here the volume is mounted where the submitting process has it, and a job
starts in the repository there, with its environment, as it does on Slurm.
"""

import os
import shlex
from dataclasses import replace

from snakemake_executor_plugin_kubernetes import Executor as KubernetesExecutor
from snakemake_executor_plugin_kubernetes import ExecutorSettings, common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

HANDED_ON = ("FAGAN_CACHE", "TORCH_HOME", "OMP_NUM_THREADS")

common_settings = replace(
    common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(KubernetesExecutor):
    """Jobs that begin with what a pod lacks: the folder and the variables of the submitter."""

    def get_job_exec_prefix(self, job) -> str:
        variables = (
            f"{name}={shlex.quote(os.environ[name])}" for name in HANDED_ON if name in os.environ
        )
        return f"cd {shlex.quote(os.getcwd())} && export PYTHONUNBUFFERED=1 {' '.join(variables)}"
