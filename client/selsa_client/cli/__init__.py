"""The `selsa` command: subcommands, inputs, result files, progress."""
