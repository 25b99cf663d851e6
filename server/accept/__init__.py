"""The doors: bytes and requests come in, answers go out; what they mean is decided elsewhere."""
