"""The version of aios_db, apart from the package, so that any module can name it."""

__version__ = "0.1.0"
