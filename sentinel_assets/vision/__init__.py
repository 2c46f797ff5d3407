"""The analysis: plain Python on frames and tables. It knows no Dagster, no AWS and no SQL."""
