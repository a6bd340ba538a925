"""Language models behind one protocol, one file per provider."""
