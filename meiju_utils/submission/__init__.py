"""From probabilities to what is handed in: ensemble, check, files, ledger."""
