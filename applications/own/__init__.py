"""A user's own data: labels that are checked, others that are not, or none."""
