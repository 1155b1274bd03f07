"""From the tables of the studies to one effect per seed for each claim."""
