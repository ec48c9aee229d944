"""The command line: one program, `hookmill`, and what each command needs of the rest."""
