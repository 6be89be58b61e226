"""Time-series forecasting: the next steps of one or thousands of series, with intervals."""
