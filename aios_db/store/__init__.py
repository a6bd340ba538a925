"""The Lance tables behind one database directory, and the one way to write them."""
