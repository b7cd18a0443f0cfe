"""Folders and buckets by the same calls: paths, Parquet files, and errors of S3 in one line."""
