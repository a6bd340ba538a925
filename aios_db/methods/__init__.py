"""What a `Connection` can do with memories: functions that are its methods, a file per subject."""
