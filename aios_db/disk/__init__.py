"""What all files of a database stand on: the write lock, forcing to the disk, framed logs, and failures."""
