"""Gates: one module each, a pure function from what was counted to a finding."""
