"""What all kinds of jobs share: which runs next, how many at once, when one must end; and the parts of a run that are the same."""
