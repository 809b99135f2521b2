"""What the tests of `tools/release` and `tools/wheels.py` run on."""
