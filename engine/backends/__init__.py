"""Ways to run a model: one file a back end behind `protocol`, named in `registry`, chosen by `selection`."""
