"""From answers to what is handed in: check, files, ledger."""
