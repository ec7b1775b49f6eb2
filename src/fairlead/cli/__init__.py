"""The command line: one module per verb. Answers go to standard output, talk to standard error."""
