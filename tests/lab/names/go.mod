// A module of its own: a change here builds nothing else of the lab anew.
module mirrorgate.dev/tests/lab/names

go 1.26.0

require golang.org/x/net v0.59.0
