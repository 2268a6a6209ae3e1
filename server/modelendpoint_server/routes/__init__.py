"""HTTP in, HTTP out: each view reads a request, hands it on and writes the answer. No numpy work, no validation."""
