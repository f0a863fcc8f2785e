"""One file for each kind of job; ``job.job`` lists them."""
