"""python -m fagan.train: one of the processes of a run, as fagan.train.launch starts them."""

from fagan.train.launch import main

main()
