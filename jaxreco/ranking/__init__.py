"""What would this user take next? Cases from logs, places in a ranking, and closed-form recommenders tuned on a log."""
