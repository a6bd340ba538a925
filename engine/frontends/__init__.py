"""From media files to what the encoders read: samples and log-mel frames, pixels."""
