"""The source ``table``: CSV, Parquet and JSON lines, whose columns the job file names."""
