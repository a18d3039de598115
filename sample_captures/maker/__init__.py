"""The parts of `make_samples.py`: who takes part, the network, the sidecars, and what is written down."""
