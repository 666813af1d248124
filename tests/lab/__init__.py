"""Tests with a real Asterisk; see docs/lab.md."""

import pytest

for helper in ("site", "stage"):
    pytest.register_assert_rewrite(f"{__name__}.{helper}")
