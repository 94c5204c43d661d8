"""What `make bench` runs: what receiving lines costs, here and in the programs people use today."""
