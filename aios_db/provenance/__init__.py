"""Where memories come from: trust by source, quarantine, taking a source back, and the audit of a memory."""
