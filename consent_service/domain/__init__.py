"""What consent means: pure values and functions, standard library only, time as an argument."""
