"""The same calls for folders and buckets: paths, Parquet files, and errors of S3 in one line."""
