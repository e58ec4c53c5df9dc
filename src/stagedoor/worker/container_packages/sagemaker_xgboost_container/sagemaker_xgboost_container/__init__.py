"""What scripts for the XGBoost container import, for scripts that run in stagedoor."""
