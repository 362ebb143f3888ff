"""Users and recommender learn in turn: the users from a log, the recommender from the users."""
