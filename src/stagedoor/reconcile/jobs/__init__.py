"""What training and transform jobs share: which runs next, how many at once, when one must end."""
