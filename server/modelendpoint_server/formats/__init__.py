"""Wire formats: bytes to named arrays and back, one module each. No Flask, no model, no I/O."""
