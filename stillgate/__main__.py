"""`python -m stillgate` is the same as `stillgate`."""

from stillgate.cli import main

main()
