"""The arithmetic of streams: what is dealt to whom, and in which order. No input or output."""
