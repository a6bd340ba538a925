"""Weight files: Parquet tables of one row a tensor, mapped and read on demand."""
