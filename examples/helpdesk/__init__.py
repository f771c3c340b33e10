"""A help desk on real text: the teacher, the traffic and the story that `make demo` tells."""
