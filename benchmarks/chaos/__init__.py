"""Support for the reliability benchmarks: services that can be killed, faults, and checks of the result."""
