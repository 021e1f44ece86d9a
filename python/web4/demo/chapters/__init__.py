"""The chapters of the story: each has the steps of a few checks, and leaves the stage to the next."""
