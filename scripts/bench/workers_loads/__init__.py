"""What is measured of workers, each in a process of its own: floors, Web4, and what else a user could take."""
