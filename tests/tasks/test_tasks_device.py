"""The checks on a device that is not there, in a process of their own."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_checks_pass_in_a_process_that_knows_the_device_before_its_first_backward_pass():
    """PyTorch's engine counts the devices at its first backward pass and knows none that comes later."""
    checks = Path(__file__).with_name("device_checks.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
