"""The joint space in a database: encoders, fitting, and the vectors of its memories."""
