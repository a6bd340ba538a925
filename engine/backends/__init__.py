"""How and where models run: a file per back end behind `protocol`, named in `registry`; devices, sessions."""
