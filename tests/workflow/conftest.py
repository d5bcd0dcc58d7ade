"""The fixture `project`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `toy`, whichever way pytest imports tests

from toy import Project


@pytest.fixture
def project(tmp_path):
    one = Project(tmp_path / "project")
    yield one
    for process in one.started:
        process.kill()
        process.wait()
