"""What agents learn and share: LoRA cards, their versions, and their exchange over Arrow Flight."""
