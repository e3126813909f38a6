"""The device that is not there, for the checks that ask for it."""

import pytest

from pretend_device import pretend_device


@pytest.fixture
def device():
    with pretend_device() as there:
        yield there
