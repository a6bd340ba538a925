"""What every table, file and configuration looks like; the lowest layer, imported by all others."""
