"""What people look at: plots and tables for notebooks, the report, the summary of a run."""
