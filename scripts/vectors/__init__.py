"""Makes `tests/vectors/` from other people's code only, so that a vector never repeats a mistake of ours."""
