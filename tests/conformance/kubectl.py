"""The real kubectl against the cluster of the run."""

import subprocess


def kubectl(world, *arguments, input=None, fails=False, codes=(0,)):
    """Its output; where it is to fail, what it says to standard error."""
    command = ["kubectl", "--kubeconfig", world.api.kubeconfig, *arguments]
    ran = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120)
    if fails:
        assert ran.returncode != 0, f"{arguments} was to fail: {ran.stdout}"
        return ran.stderr
    assert ran.returncode in codes, f"{arguments}: {ran.returncode} {ran.stderr}{ran.stdout}"
    return ran.stdout
