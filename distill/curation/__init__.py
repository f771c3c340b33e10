"""From the record to the rows that a job learns from and is judged on, with a reason for all that is left out."""
