"""Models on this machine: found, installed, told apart by digests, and opened past the validator's gate."""
