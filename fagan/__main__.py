"""python -m fagan"""

from fagan.cli import main

main()
