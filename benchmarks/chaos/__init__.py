"""What the reliability benchmarks share: real services that can be killed, and what must hold afterwards."""
