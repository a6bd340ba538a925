"""From texts and media files to what models read: token ids, samples and log-mel frames, pixels."""
